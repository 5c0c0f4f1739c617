//! Under which role blocks run: the host's own, or a login of theirs that cannot write the ledger.

use super::Boot;
use crate::{
    database::{Connection, Database, around::HOST_PATH},
    error::BootError,
    host::Host,
    ledger::{LedgerError, Secret},
    report::ReportError,
};
use std::sync::Arc;

/// The connection that blocks run on: one of their own role's, or the host's.
pub(super) async fn connection_of_blocks(host: &Host, ours: &Arc<Connection>) -> Result<Arc<Connection>, BootError> {
    let Some(database) = &host.blocks_database else { return Ok(ours.clone()) };
    let theirs = Arc::new(database.connect(&host.connection_name()).await?);
    let unreadable =
        |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "looked at", source });
    let sets = theirs.ask(&format!("{HOST_PATH}; {}", host.ledger.walls())).await.map_err(unreadable)?;
    let reasons: Vec<&str> = sets.last().iter().filter_map(|row| row.try_get(0).ok().flatten()).collect();
    if reasons.is_empty() {
        return Ok(theirs);
    }
    Err(BootError::Roles { role: role(database), reasons: reasons.join("; it ") })
}

/// Makes the ledger, if it is not there, and the role, with what it may.
pub(crate) async fn set_up(host: &Host) -> Result<(), BootError> {
    let connection = host.database.connect(&host.connection_name()).await?;
    let unwritten =
        |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "set up", source });
    connection.send(&host.ledger.create()).await.map_err(unwritten)?;
    connection.send(&format!("begin; {}; commit", host.roles(true))).await.map_err(unwritten)?;
    Ok(())
}

/// Whether blocks have a role of their own that is one.
pub(crate) async fn are_set_up(host: &Host) -> bool {
    let Ok(ours) = host.database.connect(&host.connection_name()).await else { return false };
    connection_of_blocks(host, &Arc::new(ours)).await.is_ok()
}

/// The role of a database's address.
pub(crate) fn role(database: &Database) -> String {
    database.user().unwrap_or(crate::ledger::ROLE).to_owned()
}

impl Boot<'_> {
    /// Whether blocks run under a role of their own.
    pub(super) fn walled(&self) -> bool {
        !Arc::ptr_eq(&self.connection, &self.ours)
    }

    /// That role, as the report names it.
    pub(super) fn blocks_role(&self) -> Option<String> {
        self.walled().then(|| role(self.connection.database()))
    }

    /// What writes into the ledger inside a block's transaction, unless another runner took over.
    pub(super) async fn admitted(&self, statements: &str) -> Result<String, ReportError> {
        let token = match &self.record.token {
            Some(token) if self.walled() => token,
            Some(token) => return Ok(format!("{}; {statements}", self.questions.fence(token.number, || token.fence()))),
            None => return Ok(statements.to_owned()),
        };
        let no_secret = || ReportError::new(crate::report::ErrorClass::Connection, "the system has no randomness for a secret");
        let secret = Secret::new().ok_or_else(no_secret)?;
        // Nobody needs it after a crash.
        let admits = format!("begin; set local synchronous_commit = off; {}; commit", token.admits(&secret));
        let told = self.ours.send(&admits).await;
        told.map_err(|error| ReportError::of_host(&error, "the ledger cannot be told the block's secret"))?;
        Ok(token.as_host(&secret, statements))
    }
}
