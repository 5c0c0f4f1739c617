//! One pass of the host: look, lock, plan, migrate, reconcile, settle, report.

pub(crate) mod backfill;
pub(crate) mod baseline;
mod block;
mod contest;
mod failure;
mod findings;
pub(crate) mod history;
mod look;
mod outside;
pub(crate) mod preview;
mod provides;
pub(crate) mod rehearse;
mod settle;
pub(crate) mod status;
mod transaction;
pub(crate) mod verify;

use crate::{
    database::{Canceller, Connection, lock::Held, session::SETUP},
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Record, Row},
    load::{Component, Components},
    plan::{self, Action, Plan, PlanError, PlanProblem, Step},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
    sandbox::Sandbox,
};
use look::Turn;
use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

/// The components of a boot, in order. Nothing of the database is known yet.
pub(crate) struct Loaded {
    pub(crate) components: Components,
    pub(crate) order: Vec<usize>,
    pub(crate) digest: String,
}

impl Loaded {
    /// Loads and orders. All problems at once, and none of them needs a database to be found.
    pub(crate) fn new(host: &Host) -> Result<Loaded, BootError> {
        let components = host.load()?;
        let mut problems: Vec<PlanProblem> =
            components.missing(&host.expected).into_iter().map(|id| PlanProblem::Expected { id: id.to_owned() }).collect();
        let manifests: Vec<_> = components.iter().map(|component| &component.manifest).collect();
        problems.extend(plan::conflicts(&manifests));
        let order = plan::order(&manifests).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(PlanError(problems).into());
        }
        let digest = components.digest().to_string();
        Ok(Loaded { components, order, digest })
    }

    fn has_rules(&self) -> bool {
        self.components.iter().any(|component| component.manifest.kind == plinth_manifest::Kind::Rule)
    }
}

/// A boot that runs blocks: the lock is held, the ledger was read under it, and everything required is there.
pub(crate) struct Boot<'a> {
    host: &'a Host,
    loaded: &'a Loaded,
    plan: Plan,
    /// The lock; none in a rehearsal, and then nothing is committed.
    held: Option<&'a Held>,
    connection: Arc<Connection>,
    record: Record,
    sandbox: Sandbox,
    started: Instant,
    reports: Vec<BlockReport>,
}

/// Boots, until it is done or `stop` is: then the statement that runs is cancelled and everything uncommitted rolled back.
pub(crate) async fn boot_until(host: &Host, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
    let mut leaving = Leaving(OnceLock::new());
    host.teller.looking();
    let done = tokio::select! {
        done = boot(host, &leaving.0) => done,
        () = stop => {
            // Closing the connection alone would leave a long statement running on the server, with its locks.
            if let Some(canceller) = leaving.0.get() {
                canceller.cancel().await;
            }
            Err(BootError::Interrupted)
        }
    };
    leaving.0.take();
    match &done {
        Ok(report) => host.teller.finished(report.boot.state, None),
        Err(error) => host.teller.finished(BootState::Failed, Some(error.to_string())),
    }
    done
}

/// Cancels the statement that runs if the boot's future is dropped, by a timeout of the caller's say.
struct Leaving(OnceLock<Canceller>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let (Some(canceller), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { canceller.cancel().await });
        }
    }
}

async fn boot(host: &Host, canceller: &OnceLock<Canceller>) -> Result<Report, BootError> {
    let loading = host.clone();
    let name = host.connection_name();
    let (loaded, connection) =
        tokio::join!(tokio::task::spawn_blocking(move || Loaded::new(&loading)), host.database.connect(&name));
    let loaded = loaded.map_err(|_| BootError::Interrupted)??;
    let connection = Arc::new(connection?);
    let _ = canceller.set(connection.canceller());
    let started = Instant::now();
    let (held, no_ledger) = match look::turn(host, &loaded, &connection, started).await? {
        Turn::Nothing(report) | Turn::Joined(report) => return Ok(*report),
        Turn::Ours { held, no_ledger } => (held, no_ledger),
    };
    // Before anything is written: a cache that cannot be trusted is refused.
    let sandbox = host.sandbox()?;
    let (plan, record) = open(host, &loaded, &connection, &held, no_ledger).await?;
    let boot = Boot { host, loaded: &loaded, plan, held: Some(&held), connection, record, sandbox, started, reports: Vec::new() };
    boot.run().await
}

/// Reads the ledger under the lock, plans against it and the catalog, and opens the boot. Nothing of a user's was touched.
async fn open(
    host: &Host,
    loaded: &Loaded,
    connection: &Connection,
    _: &Held,
    no_ledger: bool,
) -> Result<(Plan, Record), BootError> {
    let ledger = &host.ledger;
    let unwritten = |source| BootError::Ledger(LedgerError::Database { schema: ledger.schema.clone(), doing: "written", source });
    if no_ledger {
        connection.send(&ledger.create()).await.map_err(unwritten)?;
    }
    let known = format!("{SETUP}; {}", ledger.known_query(&loaded.digest));
    let known = Known::read(&connection.send(&known).await.map_err(unwritten)?, 0);
    let mut plan = Plan::new(&loaded.components, &loaded.order, &known);
    let wanted = plan::wanted(&plan, &loaded.components);
    let existing = provides::existing(host, connection, wanted).await.map_err(BootError::Catalog)?;
    let problems = plan.all_problems(&loaded.components, &known, &existing, &host.accepted_removals);
    if !problems.is_empty() {
        return Err(PlanError(problems).into());
    }
    if plan.retired.iter().any(|(_, kind)| *kind == plinth_manifest::Kind::Rule) {
        let evidence = history::rules(host, connection).await?;
        let removed = evidence.iter().filter(|rule| plan.is_retired(&rule.block));
        let notes: Vec<String> = removed
            .map(|rule| format!("rule {} is removed; by the boots before this one it was {}", rule.block, rule.sentence()))
            .collect();
        plan.notes.extend(notes);
    }
    let renames: String = plan.renamed.iter().map(|(from, to)| format!("{};", ledger.rename(from, to))).collect();
    let opening = ledger.open_boot(&loaded.digest, host.build.as_deref(), &host.instance, loaded.components.len());
    let opened = connection.send(&format!("begin; {renames} {opening}; commit")).await.map_err(unwritten)?;
    let boot = opened.set_from_end(1).first().and_then(|row| row.try_get(0).ok().flatten()).and_then(|id| id.parse().ok());
    Ok((plan, Record { ledger: ledger.clone(), boot: boot.unwrap_or_default() }))
}

impl Boot<'_> {
    async fn run(mut self) -> Result<Report, BootError> {
        let steps = self.plan.steps.clone();
        self.host.teller.started(
            self.record.boot,
            steps.iter().filter(|step| !matches!(step.action, Action::Skip | Action::Background)).count(),
        );
        let mut running = 0;
        for (place, step) in steps.iter().enumerate() {
            let Some(component) = self.loaded.components.get(step.component) else { continue };
            let report = match step.action {
                Action::Skip => BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Skipped),
                _ if let Some(waiting) = self.waits(component) => waiting,
                Action::Background => BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Background),
                _ => {
                    running += 1;
                    self.host.teller.block(&component.manifest.id, running);
                    let report = self.block(component, step).await;
                    self.host.teller.ended(&report);
                    report
                }
            };
            let failed = report.outcome == Outcome::Failed;
            self.reports.push(report);
            if failed {
                for step in steps.iter().skip(place + 1) {
                    self.reports.extend(self.skipped(step));
                }
                return self.failed().await;
            }
        }
        if let Err((id, error)) = self.settle().await {
            if let Some(report) = self.reports.iter_mut().find(|report| report.id == id) {
                report.outcome = Outcome::Failed;
                report.error = Some(error);
            }
            return self.failed().await;
        }
        self.complete().await
    }

    /// A block that cannot run, since one that it needs put its work off in this boot or is not done yet.
    fn waits(&self, component: &Component) -> Option<BlockReport> {
        let manifest = &component.manifest;
        let not_done = |report: &&BlockReport| matches!(report.outcome, Outcome::Deferred | Outcome::Background) || report.waits;
        let needed = |report: &&BlockReport| {
            self.component(&report.id).is_some_and(|other| {
                // What runs once must not run on what is half done. A rule gets to see the rest at a later boot.
                let half_done = report.outcome == Outcome::Background && manifest.kind.runs_once();
                manifest.needs(&other.manifest) || (half_done && manifest.reads_from(&other.manifest))
            })
        };
        let other = self.reports.iter().filter(not_done).find(needed)?;
        let why = if other.outcome == Outcome::Background { "goes on in the background" } else { "put its work off" };
        let mut report = BlockReport::new(&manifest.id, manifest.kind, Outcome::Skipped);
        report.message = Some(format!("waits for {}, which {why}", other.id));
        report.waits = true;
        Some(report)
    }

    fn skipped(&self, step: &Step) -> Option<BlockReport> {
        let manifest = &self.loaded.components.get(step.component)?.manifest;
        Some(BlockReport::new(&manifest.id, manifest.kind, Outcome::Skipped))
    }

    /// Closes a boot that did all of its work. What changed nothing is recorded here, all in one.
    async fn complete(mut self) -> Result<Report, BootError> {
        for (id, kind) in &self.plan.retired {
            self.reports.push(BlockReport::new(id, *kind, Outcome::Retired));
        }
        let state = if self.reports.iter().any(|report| report.outcome == Outcome::Deferred || report.waits) {
            BootState::Deferred
        } else {
            BootState::Complete
        };
        // Until it is done, every boot has something to do, or at least to leave for later.
        let more = self.reports.iter().any(|report| report.outcome == Outcome::Background);
        let late = self.reports.iter().filter(|report| matches!(report.outcome, Outcome::Unchanged | Outcome::Retired));
        let rows: Vec<Row<'_>> = late.map(|report| Row::new(report, self.component(&report.id))).collect();
        let returned: Vec<&str> = self
            .plan
            .steps
            .iter()
            .filter(|step| step.returns && step.action == Action::Skip)
            .filter_map(|step| self.loaded.components.get(step.component))
            .map(|component| &*component.manifest.id)
            .collect();
        let mut statements = vec![self.record.rows(&rows)];
        if !returned.is_empty() {
            statements.push(self.record.returned(&returned));
        }
        // This statement's own round trip is one more.
        statements.push(self.record.close(state, self.round_trips() + 1, None, !more));
        if !self.held.is_some_and(Held::is_held) {
            return Err(BootError::Failed(Box::new(self.report(BootState::Failed))));
        }
        let closing = format!("begin; {}; commit", statements.join("; "));
        self.connection.send(&closing).await.map_err(|source| {
            BootError::Ledger(LedgerError::Database { schema: self.record.ledger.schema.clone(), doing: "written", source })
        })?;
        Ok(self.report(state))
    }

    /// Closes a boot whose last block failed. The block's own row was written when it was rolled back.
    async fn failed(self) -> Result<Report, BootError> {
        let cause = self.reports.iter().find_map(|report| report.error.as_ref().map(|error| (report.id.as_str(), error)));
        let closing = self.record.close(BootState::Failed, self.round_trips() + 1, cause, false);
        // The failure is what matters: if the ledger cannot be told any more, the next boot marks this one as interrupted.
        if let Err(error) = self.connection.send(&closing).await {
            tracing::warn!(error = %crate::database_reason(&error), "the failed boot cannot be closed in the ledger");
        }
        Err(BootError::Failed(Box::new(self.report(BootState::Failed))))
    }

    fn component(&self, id: &str) -> Option<&Component> {
        self.loaded.components.iter().find(|component| component.manifest.id == *id)
    }

    fn round_trips(&self) -> u64 {
        self.connection.trips().get() + self.held.map_or(0, Held::round_trips)
    }

    fn report(&self, state: BootState) -> Report {
        let ran = self
            .reports
            .iter()
            .filter(|report| {
                !matches!(report.outcome, Outcome::Skipped | Outcome::Retired | Outcome::Joined | Outcome::Background)
            })
            .count();
        Report {
            boot: BootReport {
                id: Some(self.record.boot),
                state,
                duration_ms: milliseconds(self.started),
                round_trips: self.round_trips(),
                build: self.host.build.clone(),
                found: self.loaded.components.len(),
                ran,
                skipped: self.reports.iter().filter(|report| report.outcome == Outcome::Skipped).count(),
                notes: self.plan.notes.clone(),
            },
            blocks: self.reports.clone(),
        }
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
