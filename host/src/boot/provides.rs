//! What blocks require and provide, held against the catalog.

use super::begin::settings;
use crate::{
    database::{
        Connection, Sent,
        catalog::{Existing, Look, Wanted},
    },
    host::Host,
    ledger::{Known, Ledger, LedgerError, Provided},
    plan::Plan,
    report::{ErrorClass, ReportError},
};
use plinth_manifest::{Kind, Manifest, Object};
use std::sync::Arc;
use tokio_postgres::error::SqlState;

/// What objects there are before the first block runs: asked in one round trip, or none if there are none to look up.
pub(super) struct Looked<'a> {
    look: Look<'a>,
    sent: Option<Sent>,
}

/// Under the settings of blocks: what the server prints depends on the search path.
fn ask(host: &Host, look: &Look<'_>) -> String {
    format!("{}; {}", settings(host), look.query())
}

impl<'a> Looked<'a> {
    /// Has it asked.
    pub(super) fn up(host: &Host, connection: &Arc<Connection>, wanted: Vec<Wanted<'a>>) -> Looked<'a> {
        let look = Look::new(wanted);
        let sent = (!look.is_empty()).then(|| connection.send_ahead(ask(host, &look)));
        Looked { look, sent }
    }

    /// Waits for the answer.
    pub(super) async fn existing(self, host: &Host, connection: &Connection) -> Result<Existing, tokio_postgres::Error> {
        let Looked { look, sent } = self;
        let Some(sent) = sent else { return Ok(Existing::default()) };
        let sets = match sent.await {
            // Somebody holds a table whose defaults or predicates were asked for. What can be known without waiting is better
            // than nothing; the block itself will wait for that table, if it needs it.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tracing::warn!(
                    "another session holds a lock: defaults, predicates and constraints of what is required are not compared"
                );
                connection.send(&ask(host, &look.without_waiting())).await?
            }
            sets => sets?,
        };
        Ok(look.read(&sets, 0))
    }
}

/// What blocks provided whose components are gone, if that matters.
pub(super) async fn by_removed(
    ledger: &Ledger,
    connection: &Connection,
    plan: &Plan,
    known: &Known,
) -> Result<Provided, LedgerError> {
    if !plan.removes(known) {
        return Ok(Provided::default());
    }
    let query = ledger.provided_query(plan.retired.iter().map(|(id, _)| id.as_str()));
    let unreadable = |source| LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source };
    connection.send(&query).await.map(|sets| Provided::read(&sets)).map_err(unreadable)
}

/// The look at what a block provides, after its work. A rule runs in every boot, so it never waits for more than its own
/// work did.
pub(super) fn provided(manifest: &Manifest) -> Look<'_> {
    Look::new(manifest.provides.iter().map(if manifest.kind == Kind::Rule { Wanted::at_once } else { Wanted::whole }))
}

impl ReportError {
    /// Everything that a block provides and that is not there as declared; none if all is.
    pub(super) fn of_provides(manifest: &Manifest, existing: &Existing) -> Option<ReportError> {
        let differs = |object: &Object| Some((object.to_string(), existing.difference(object)?));
        let wrong: Vec<_> = manifest.provides.iter().filter_map(differs).collect();
        let object = wrong.first().map(|(object, _)| object.clone())?;
        let told: Vec<String> = wrong.into_iter().map(|(object, difference)| object + &difference).collect();
        let error = ReportError { object: Some(object), ..ReportError::of_definitions(&told)? };
        Some(error.hint("correct what the block does, or what block.toml says that it provides"))
    }

    /// Objects that are not as a block provides them; none if there are none.
    pub(super) fn of_definitions(told: &[String]) -> Option<ReportError> {
        let message = || format!("the block provides {}", told.join("; "));
        (!told.is_empty()).then(|| ReportError::new(ErrorClass::Definition, message()))
    }
}
