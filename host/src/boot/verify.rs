//! The post-conditions of all blocks that were applied, and the definitions of what they provide, looked at read-only:
//! `plinth verify`.

use super::{Loaded, begin::settings, planning::known, roles::connection_of_blocks};
use crate::{
    database::{
        catalog::{Look, Wanted},
        effects::Counters,
        policy::{Phase, Policy},
        session::Session,
    },
    error::BootError,
    host::Host,
    ledger::LedgerError,
    plan::Standing,
    report::ReportError,
};
use plinth_manifest::Kind;
use serde::Serialize;
use std::sync::Arc;

/// What `plinth verify` found. Serialises to what it prints as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Every block that was looked at, in order.
    pub blocks: Vec<CheckReport>,
    /// Blocks that were not applied yet, so that nothing can be said of them.
    pub not_applied: Vec<String>,
}

/// What was found of one block.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The block.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// How many conditions it has.
    pub conditions: usize,
    /// What does not hold, or why it cannot be looked at.
    pub error: Option<ReportError>,
}

impl Verification {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.blocks.iter().all(|block| block.error.is_none())
    }
}

pub(crate) async fn verify(host: &Host) -> Result<Verification, BootError> {
    let loaded = Loaded::new(host)?;
    let ours = Arc::new(host.database.connect(&host.connection_name()).await?);
    let known = known(host, &ours, &loaded.digest).await?;
    let mut connection = connection_of_blocks(host, &ours).await?;
    let sandbox = host.sandbox()?;
    let unreadable =
        |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "read", source });
    let begin = format!("begin read only; {}", settings(host));
    let mut found = Verification { blocks: Vec::new(), not_applied: Vec::new() };
    let in_order = || loaded.order.iter().filter_map(|place| loaded.components.get(*place)).map(|component| &component.manifest);
    let applied = || in_order().filter(|manifest| known.get(&manifest.id).is_some_and(|entry| entry.applied));
    let look = Look::new(applied().flat_map(|manifest| manifest.provides.iter().map(Wanted::whole)));
    let sets = connection.send(&format!("{}; {}", settings(host), look.query())).await.map_err(BootError::Catalog)?;
    let existing = look.read(&sets, 0);
    let standing = Standing::new(applied(), &existing);
    for component in loaded.order.iter().filter_map(|place| loaded.components.get(*place)) {
        let manifest = &component.manifest;
        if !known.get(&manifest.id).is_some_and(|entry| entry.applied) {
            found.not_applied.push(manifest.id.to_string());
            continue;
        }
        connection.send(&begin).await.map_err(unreadable)?;
        let mut report = CheckReport { id: manifest.id.to_string(), kind: manifest.kind, conditions: 0, error: None };
        match sandbox.block(component) {
            Err(error) => report.error = Some(ReportError::of_block(&error, None, None)),
            Ok(block) => {
                let policy = Arc::new(Policy::new(manifest, &host.ledger.schema));
                let mut session = Session::new(connection.clone(), policy, host.limits.clone(), manifest.budget.statements);
                session.show_values(host.shows_values);
                let mut running = sandbox.start(&block, session, &host.limits, host.limits.wall);
                running.session().enter(Phase::Verify, Counters::default());
                match running.verify().await {
                    Ok(checks) => {
                        report.conditions = checks.len();
                        report.error = ReportError::of_checks(&checks);
                    }
                    Err(error) => report.error = Some(ReportError::of_block(&error, running.failed(), None)),
                }
            }
        }
        if report.error.is_none() {
            let told = ReportError::of_definitions(&standing.differences(manifest));
            report.error = told.map(|error| {
                error.hint("somebody has changed it since the block was applied: change it back by a new migration")
            });
        }
        found.blocks.push(report);
        if !connection.end_with("rollback").await {
            // A look that did not heed its cancellation has cost us the connection.
            let again = Arc::new(host.database.connect(&host.connection_name()).await?);
            connection = connection_of_blocks(host, &again).await?;
        }
    }
    Ok(found)
}
