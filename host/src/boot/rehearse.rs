//! `plinth plan --run`: everything pending, and every rule, run for real in one transaction that is rolled back.
//!
//! One transaction, since later blocks need what earlier ones made; each block behind a savepoint, by the same steps as in a
//! boot. There is no lock of the boot's and no ledger row, and a boot without its lock commits nothing: see `Measured::commit`.

use super::{
    Boot, Loaded,
    begin::{BegunAhead, settings},
    block::{Stopped, deferred, failed, note},
    findings::findings,
    milliseconds,
    pass::Pass,
    planning,
    recall::Recalls,
    roles::connection_of_blocks,
    settle::Looks,
    transaction::{Begun, Broken},
};
use crate::{
    database::{observer::Observed, questions::Questions},
    error::BootError,
    host::Host,
    ledger::{LedgerError, Record},
    load::Component,
    plan::{Action, Step},
    report::{BlockReport, Outcome, Rehearsal, Rehearsed, RehearsedBlock, ReportError, shown},
};
use plinth_manifest::{Kind, Transaction as Wrapping};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The most of a statement that a rehearsal shows, in bytes.
const SQL: usize = 4_000;

/// Rehearses, until it is done or `stop` is.
pub(crate) async fn rehearse_until(host: &Host, stop: impl Future<Output = ()>) -> Result<Rehearsal, BootError> {
    let pass = Pass::new(host, Duration::ZERO);
    let done = tokio::select! {
        done = rehearse(host, &pass) => done,
        () = stop => Err(pass.leave().await),
    };
    pass.ended();
    done
}

async fn rehearse(host: &Host, pass: &Pass) -> Result<Rehearsal, BootError> {
    let loading = host.clone();
    let loaded = tokio::task::spawn_blocking(move || Loaded::new(&loading)).await.map_err(|_| BootError::Interrupted(None))??;
    let connection = host.database.connect(&host.connection_name()).await?;
    let ours = Arc::new(connection);
    pass.connected(&ours);
    let plan = planning::now(host, &loaded, &ours).await?;
    let connection = connection_of_blocks(host, &ours).await?;
    pass.runs_on(&connection);
    let sandbox = host.sandbox()?;
    let started = Instant::now();
    let record = Record { ledger: host.ledger.clone(), boot: 0, token: None };
    let broken = |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "read", source });
    let server = connection.send("show server_version_num").await.map_err(broken)?.value().and_then(version);
    connection.send(&format!("begin isolation level read committed read write; {}", settings(host))).await.map_err(broken)?;
    let connection_to_end = connection.clone();
    let mut boot = Boot {
        host,
        loaded: &loaded,
        pass,
        plan,
        held: None,
        connection,
        ours,
        record,
        sandbox,
        questions: Questions::plain(),
        once_complete: false,
        started,
        reports: Vec::new(),
        looks: Looks::default(),
        recalls: Recalls::default(),
        begun: BegunAhead::default(),
        closed: Default::default(),
    };
    let blocks = boot.rehearsed(server.as_deref()).await;
    // If the server is gone, so is the transaction: what was seen is told all the same.
    if !connection_to_end.end_with("rollback").await {
        tracing::warn!("the rehearsal's connection was lost");
    }
    Ok(Rehearsal {
        duration_ms: milliseconds(started),
        passed: blocks.iter().all(|block| block.outcome != Rehearsed::Failed),
        blocks,
        retired: boot.plan.retired.iter().map(|(id, _)| id.clone()).collect(),
        notes: boot.plan.notes.clone(),
    })
}

/// `170006` as squawk reads it.
fn version(number: &str) -> Option<String> {
    let number: u32 = number.parse().ok()?;
    Some(format!("{}.{}", number / 10_000, number % 10_000))
}

/// How a block that ran leaves the transaction.
struct Ran {
    report: BlockReport,
    observed: Observed,
    youngest: Option<u64>,
}

impl Boot<'_> {
    async fn rehearsed(&mut self, server: Option<&str>) -> Vec<RehearsedBlock> {
        let steps = self.plan.steps.clone();
        let mut blocks: Vec<RehearsedBlock> = Vec::with_capacity(steps.len());
        let mut youngest = None;
        let mut stopped: Option<String> = None;
        for step in &steps {
            let Some(component) = self.loaded.components.get(step.component) else { continue };
            let manifest = &component.manifest;
            if step.action == Action::Skip {
                self.reports.push(BlockReport::new(&manifest.id, manifest.kind, Outcome::Skipped));
                blocks.push(RehearsedBlock::new(&manifest.id, manifest.kind, Rehearsed::Skipped));
                continue;
            }
            let reason = match &stopped {
                Some(id) => Some(format!("{id} failed before it")),
                None => self.not_tried(component, &blocks),
            };
            if let Some(reason) = reason {
                let mut block = RehearsedBlock::new(&manifest.id, manifest.kind, Rehearsed::NotTried);
                block.message = Some(reason);
                blocks.push(block);
                continue;
            }
            let ran = self.rehearse(component, step, youngest).await;
            youngest = ran.youngest;
            if ran.report.outcome == Outcome::Failed {
                stopped = Some(manifest.id.to_string());
            }
            blocks.push(told(&ran.report, ran.observed, server));
            self.reports.push(ran.report);
        }
        if stopped.is_none()
            && let Err((id, error)) = self.rehearsed_settling().await
            && let Some(block) = blocks.iter_mut().find(|block| block.id == id)
        {
            block.outcome = Rehearsed::Failed;
            block.error = Some(error);
        }
        blocks
    }

    /// Why a block is not tried; none if it is.
    fn not_tried(&self, component: &Component, blocks: &[RehearsedBlock]) -> Option<String> {
        let manifest = &component.manifest;
        if manifest.transaction == Wrapping::None {
            return Some("it runs outside a transaction, so that it cannot be rolled back".to_owned());
        }
        if let Some(waiting) = self.waits(component) {
            return waiting.message;
        }
        // What it needs is not there: that it fails here would say nothing about the boot.
        let mut untried = blocks.iter().filter(|block| block.outcome == Rehearsed::NotTried);
        let needed = untried.find(|block| {
            let provided = self.component(&block.id).map(|other| other.manifest.provides.as_slice()).unwrap_or_default();
            provided.iter().any(|object| manifest.requires.iter().any(|required| required.same(object)))
        })?;
        Some(format!("it requires what {} provides, which was not tried", needed.id))
    }

    /// Runs a block behind a savepoint. What it did stays for those after it, unless it failed or put its work off.
    async fn rehearse(&self, component: &Component, step: &Step, after: Option<u64>) -> Ran {
        let started = Instant::now();
        let manifest = &component.manifest;
        let mut report = BlockReport::new(&manifest.id, manifest.kind, Outcome::Failed);
        let begun = match Begun::rehearse(self, component, after).await {
            Ok(begun) => begun,
            Err(error) => {
                report.error = Some(error);
                return Ran { report, observed: Observed::default(), youngest: after };
            }
        };
        let kept = match self.tried(begun, component, &mut report, started).await {
            Ok(measured) => {
                let youngest = measured.effects.youngest.or(after);
                measured.keep().await.map(|transaction| (transaction, youngest)).map_err(Stopped::Broken)
            }
            Err(stopped) => Err(stopped),
        };
        let mut observed = None;
        let youngest = match kept {
            Ok((mut transaction, youngest)) => {
                observed = transaction.running.session().observed();
                youngest
            }
            Err(Stopped::Before(error)) => {
                report.error = Some(error);
                after
            }
            Err(Stopped::Deferred(mut transaction, reason)) => {
                observed = transaction.running.session().observed();
                note(&mut transaction, &mut report, started);
                deferred(component, step, reason, &mut report);
                self.undone(transaction.roll_back_rehearsed().await, &mut report);
                after
            }
            Err(Stopped::Broken(Broken { mut transaction, error, effects })) => {
                observed = transaction.running.session().observed();
                note(&mut transaction, &mut report, started);
                failed(component, step, error, &mut report);
                // What was too much is what somebody wants to see.
                report.rows = effects.map(|effects| effects.rows_by_name()).unwrap_or_default();
                self.undone(transaction.roll_back_rehearsed().await, &mut report);
                after
            }
        };
        Ran { report, observed: observed.unwrap_or_default(), youngest }
    }

    /// A block that cannot be rolled back ends the rehearsal, even one that may wait.
    fn undone(&self, undone: bool, report: &mut BlockReport) {
        if !undone {
            report.outcome = Outcome::Failed;
            let lost =
                || ReportError::new(crate::report::ErrorClass::Connection, "the block cannot be rolled back to its savepoint");
            report.error.get_or_insert_with(lost);
        }
    }

    /// The end of a boot: the second pass of the rules and the post-conditions once more.
    async fn rehearsed_settling(&self) -> Result<(), (String, ReportError)> {
        // Of a backfill the first batch was tried: that it is done was never said.
        let tried = self.reports.iter().filter(|report| report.kind != Kind::Backfill);
        let ran = tried.filter(|report| matches!(report.outcome, Outcome::Applied | Outcome::Unchanged));
        let ids: Vec<&str> = ran.map(|report| report.id.as_str()).collect();
        if !self.reports.iter().any(|report| report.outcome == Outcome::Applied) {
            return Ok(());
        }
        self.settled(&ids).await
    }
}

/// What is told of a block that was tried.
fn told(report: &BlockReport, observed: Observed, server: Option<&str>) -> RehearsedBlock {
    let outcome = match report.outcome {
        Outcome::Applied => Rehearsed::Applied,
        Outcome::Unchanged => Rehearsed::Unchanged,
        Outcome::Deferred => Rehearsed::Deferred,
        _ => Rehearsed::Failed,
    };
    let mut statements = observed.statements;
    let findings = findings(&statements, server, true);
    for statement in &mut statements {
        statement.sql = shown(&statement.sql, SQL);
    }
    RehearsedBlock {
        message: report.message.clone(),
        rows: report.rows.clone(),
        objects: report.objects.clone(),
        locks: observed.locks,
        statements,
        findings,
        duration_ms: observed.duration_ms,
        error: report.error.clone(),
        journal: report.journal.clone(),
        ..RehearsedBlock::new(&report.id, report.kind, outcome)
    }
}
