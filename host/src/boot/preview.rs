//! What a boot would do, without doing any of it.

use super::{Loaded, history, open, roles::connection_of_blocks};
use crate::{
    database::Connection,
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Look},
    plan::{Plan, Preview},
};
use std::sync::Arc;

pub(crate) async fn preview(host: &Host) -> Result<Preview, BootError> {
    let loaded = Loaded::new(host)?;
    let connection = Arc::new(host.database.connect(&host.connection_name()).await?);
    let plan = planned(host, &loaded, &connection).await?;
    let evidence = history::evidence(host, &connection).await?;
    Ok(Preview::new(&plan, &loaded.components, evidence))
}

/// The plan against ledger and catalog, if nothing stands against it.
pub(super) async fn planned(host: &Host, loaded: &Loaded, connection: &Arc<Connection>) -> Result<Plan, BootError> {
    let known = known(host, connection, &loaded.digest).await?;
    let blocks = connection_of_blocks(host, connection).await?;
    open::planned(host, loaded, (connection, &blocks), &known).await
}

/// What the ledger knows; nothing, if there is none.
pub(super) async fn known(host: &Host, connection: &Connection, digest: &str) -> Result<Known, BootError> {
    let ledger = &host.ledger;
    let look = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
    if matches!(look, Look::Absent) {
        return Ok(Known::default());
    }
    let sets = connection.send(&ledger.known_query(digest)).await.map_err(|source| LedgerError::Database {
        schema: ledger.schema.clone(),
        doing: "read",
        source,
    })?;
    Ok(Known::read(&sets, 0))
}
