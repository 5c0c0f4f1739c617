//! The plan of a boot: what is loaded, held against the ledger and the catalog.

use super::{
    Loaded, history,
    provides::{self, Looked},
    roles::connection_of_blocks,
};
use crate::{
    database::Connection,
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Look},
    plan::{self, Plan, PlanError},
};
use plinth_manifest::Kind;
use std::sync::Arc;

/// Reads the ledger, without a lock, and plans against it.
pub(super) async fn now(host: &Host, loaded: &Loaded, connection: &Arc<Connection>) -> Result<Plan, BootError> {
    let known = known(host, connection, &loaded.digest).await?;
    let blocks = connection_of_blocks(host, connection).await?;
    let plan = Plan::new(&loaded.components, &loaded.order, &known);
    let looked = required(host, loaded, &blocks, &plan);
    judged(host, loaded, (connection, &blocks), &known, &plan, looked).await?;
    Ok(plan)
}

/// What the ledger knows; nothing, if there is none.
pub(super) async fn known(host: &Host, connection: &Connection, digest: &str) -> Result<Known, BootError> {
    let ledger = &host.ledger;
    let look = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
    if matches!(look, Look::Absent) {
        return Ok(Known::default());
    }
    let sets = connection.send(&ledger.known_query(digest, look.stands())).await.map_err(|source| LedgerError::Database {
        schema: ledger.schema.clone(),
        doing: "read",
        source,
    })?;
    Ok(Known::read(&sets, 0))
}

/// Has the catalog asked for what the blocks of a plan require.
pub(super) fn required<'a>(host: &Host, loaded: &'a Loaded, blocks: &Arc<Connection>, plan: &Plan) -> Looked<'a> {
    Looked::up(host, blocks, plan::wanted(plan, &loaded.components))
}

/// Whether nothing stands against a plan, by the ledger and by the catalog.
pub(super) async fn judged(
    host: &Host,
    loaded: &Loaded,
    (ours, blocks): (&Connection, &Connection),
    known: &Known,
    plan: &Plan,
    looked: Looked<'_>,
) -> Result<(), BootError> {
    let existing = looked.existing(host, blocks).await.map_err(BootError::Catalog)?;
    let by_removed = provides::by_removed(&host.ledger, ours, plan, known).await?;
    let problems = plan.all_problems(&loaded.components, (known, &by_removed), &existing, &host.accepted_removals);
    if problems.is_empty() { Ok(()) } else { Err(PlanError(problems).into()) }
}

/// What the boots before this one say of rules that are removed.
pub(super) async fn removed_rules(host: &Host, connection: &Connection, plan: &Plan) -> Result<Vec<String>, BootError> {
    if !plan.retired.iter().any(|(_, kind)| *kind == Kind::Rule) {
        return Ok(Vec::new());
    }
    let mut told = Vec::new();
    for rule in history::rules(host, connection).await?.iter().filter(|rule| plan.is_retired(&rule.block)) {
        told.push(format!("rule {} is removed; by the boots before this one it was {}", rule.block, rule.sentence()));
    }
    Ok(told)
}
