//! What a boot would do, without doing any of it.

use super::{Loaded, history, provides, roles::connection_of_blocks};
use crate::{
    database::Connection,
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Look},
    plan::{self, Plan, PlanError, Preview},
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
    let plan = Plan::new(&loaded.components, &loaded.order, &known);
    let wanted = plan::wanted(&plan, &loaded.components);
    let blocks = connection_of_blocks(host, connection).await?;
    let existing = provides::existing(host, &blocks, wanted).await.map_err(BootError::Catalog)?;
    let problems = plan.all_problems(&loaded.components, &known, &existing, &host.accepted_removals);
    if problems.is_empty() { Ok(plan) } else { Err(PlanError(problems).into()) }
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
