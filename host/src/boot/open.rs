//! What opens a boot: the plan of what is loaded, held against ledger and catalog; the boot's row; the host's questions; and the begin of the
//! first block, which waits for none of their answers.

use super::{
    Loaded,
    begin::{Begins, Ground, settings_alone},
    pass::Pass,
    planning,
    recall::Recalls,
    runs,
    sessions::{Opening, Sessions},
    starts,
    transaction::compiled,
};
use crate::{
    database::{
        Connection,
        catalog::Classes,
        questions::{Preparing, Questions},
    },
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Record},
    load::Component,
    lock::{Held, Mode},
    plan::Plan,
    sandbox::{Ahead, Sandbox},
};
use plinth_manifest::Kind;
use std::{pin::pin, sync::Arc};

/// A boot that may run blocks.
pub(super) struct Opened {
    pub(super) sessions: Sessions,
    pub(super) plan: Plan,
    pub(super) record: Record,
    pub(super) sandbox: Sandbox,
    pub(super) ahead: Ahead,
    pub(super) questions: Questions,
    pub(super) recalls: Recalls,
    /// The first block, if its transaction began meanwhile.
    pub(super) begun: Option<Begins>,
}

/// Plans and opens. Nothing of a user's was touched.
///
/// `lock` is the lock's connection: what it wrote and read knows the ledger's tables already, while the boot's own sessions open.
pub(super) async fn opened(
    host: &Host,
    loaded: &Loaded,
    pass: &Pass,
    (lock, held): (&Connection, &Held),
    known: &Known,
    opening: Opening,
) -> Result<Opened, BootError> {
    // What was asked may be what cost an earlier try its connection.
    let recalls = if pass.retries().is_empty() {
        Recalls::new(loaded.components.iter(), known, &host.ledger.schema)
    } else {
        Recalls::default()
    };
    let mut plan = Plan::new(&loaded.components, &loaded.order, known);
    let steps = plan.steps.iter().filter(|step| runs(step));
    let steps = steps.filter_map(|step| loaded.components.get(step.component));
    // Nothing is made ready for what most likely need not run.
    let pending: Vec<&Component> = steps.filter(|component| !recalls.may_spare(&component.manifest.id)).collect();
    let sandbox = host.sandbox()?;
    // The first blocks are compiled meanwhile.
    let ahead = Ahead::new(sandbox.clone(), pending.iter().map(|component| (*component).clone()).collect());
    let (sessions, preparing) = opening.opened().await?;
    pass.connected(&sessions.ours);
    let (ours, blocks) = (&sessions.ours, &sessions.blocks);

    // What is prepared is nothing that anybody else would see, so it need not wait for what the plan is told.
    let required = planning::required(host, loaded, blocks, &plan);
    let preparing = preparing.unwrap_or_else(|| prepare(host, &sessions, held, &pending));
    let preparing = with_provided(host, preparing, blocks, &pending);
    planning::judged(host, loaded, (ours, blocks), known, &plan, required).await?;
    plan.notes.extend(planning::removed_rules(host, ours, &plan).await?);

    let ground = Ground {
        host,
        sandbox: &sandbox,
        connection: blocks,
        questions: preparing.questions(),
        token: Some(held.token()),
        walled: sessions.walled(),
    };
    let first = plan.steps.iter().find(|step| runs(step)).and_then(|step| loaded.components.get(step.component));
    let first = first.filter(|first| starts(first, &recalls));
    let (record, begun) = beginning(open(host, loaded, lock, held, &plan), ground, first).await;
    let record = record?;
    if begun.is_some() {
        blocks.counts();
    }
    let questions = preparing.done().await.map_err(|error| unprepared(host, error))?;
    Ok(Opened { sessions, plan, record, sandbox, ahead, questions, recalls, begun })
}

/// Waits for the boot's row, and begins the first block meanwhile if that is ready before. What has begun is not left alone.
async fn beginning<T>(row: impl Future<Output = T>, ground: Ground<'_>, first: Option<&Component>) -> (T, Option<Begins>) {
    let mut row = pin!(row);
    let Some(first) = first else { return (row.await, None) };
    tokio::select! {
        biased;
        row = &mut row => return (row, None),
        // No transaction waits for the compiler. What is wrong with the code is told when it is the block's turn.
        Ok(()) = compiled(ground.sandbox, first) => {}
    }
    let begins = Begins::ahead(ground, first, false, ground.counts_from_nothing()).await;
    (row.await, Some(begins))
}

/// Writes the boot's row.
async fn open(host: &Host, loaded: &Loaded, connection: &Connection, held: &Held, plan: &Plan) -> Result<Record, BootError> {
    let ledger = &host.ledger;
    let unwritten = |source| BootError::Ledger(LedgerError::Database { schema: ledger.schema.clone(), doing: "written", source });
    let renames: String = plan.renamed.iter().map(|(from, to)| format!("{};", ledger.rename(from, to))).collect();
    let opening = ledger.open_boot(&loaded.digest, host.build.as_deref(), &host.instance, loaded.components.len());
    let opening = held.token().guarded_without_waiting(&format!("{renames} {opening}"));
    let opened = connection.send(&opening).await.map_err(unwritten)?;
    let boot = opened.set_from_end(1).first().and_then(|row| row.try_get(0).ok().flatten()).and_then(|id| id.parse().ok());
    Ok(Record { ledger: ledger.clone(), boot: boot.unwrap_or_default(), token: Some(held.token().clone()) })
}

/// Has the host's questions prepared for what is to run.
pub(super) fn prepare(host: &Host, sessions: &Sessions, held: &Held, pending: &[&Component]) -> Preparing {
    if pending.is_empty() || held.mode() == Mode::Lease {
        return Preparing::none();
    }
    sessions.prepare(host, &held.token().ledger, pending.iter().any(|component| component.manifest.kind != Kind::Rule))
}

/// What is looked up of what some blocks provide, prepared as well.
pub(super) fn with_provided(host: &Host, preparing: Preparing, connection: &Arc<Connection>, blocks: &[&Component]) -> Preparing {
    preparing.with(connection, &settings_alone(host), Classes::of(blocks.iter().flat_map(|block| &block.manifest.provides)))
}

/// That they cannot be prepared.
pub(super) fn unprepared(host: &Host, source: tokio_postgres::Error) -> BootError {
    BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "asked for", source })
}
