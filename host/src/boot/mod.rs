//! One pass of the host: look, lock, plan, migrate, reconcile, settle, report.

pub(crate) mod backfill;
pub(crate) mod baseline;
mod begin;
mod block;
mod close;
mod contest;
mod failure;
pub(crate) mod findings;
pub(crate) mod history;
pub(crate) mod loaded;
mod look;
mod open;
mod outside;
mod pass;
mod planning;
pub(crate) mod preview;
mod provides;
mod recall;
pub(crate) mod rehearse;
pub(crate) mod roles;
mod sessions;
mod settle;
pub(crate) mod status;
mod thread;
mod transaction;
mod transient;
pub(crate) mod verify;

use crate::{
    database::{Connection, questions::Questions},
    error::BootError,
    host::Host,
    ledger::{LedgerError, Record},
    load::Component,
    lock::Held,
    plan::{Action, Plan, Step},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
    sandbox::{Ahead, Sandbox},
};
use begin::{BegunAhead, Ground};
use loaded::Listed;
pub(crate) use loaded::Loaded;
use look::Turn;
use open::Opened;
use pass::Pass;
use plinth_manifest::{Kind, Transaction as Wrapping};
use recall::Recalls;
use settle::Looks;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What the report says behind a pooler.
const POOLED: &str = "a pooler stands between host and server, so the boot's lock is a lease (--lock says otherwise)";
/// How long the server is asked to cancel, after the lock was lost.
const LOST: Duration = Duration::from_secs(1);

/// A boot that runs blocks: the lock is held, the ledger was read under it, and everything required is there.
pub(crate) struct Boot<'a> {
    host: &'a Host,
    loaded: &'a Loaded,
    pass: &'a Pass,
    plan: Plan,
    /// The lock; none in a rehearsal, and then nothing is committed.
    held: Option<&'a Held>,
    /// Blocks run on this one.
    connection: Arc<Connection>,
    /// The host's own, for the ledger: the same, unless blocks have a role of their own.
    ours: Arc<Connection>,
    record: Record,
    sandbox: Sandbox,
    questions: Questions,
    /// Whether this set of blocks was complete before.
    once_complete: bool,
    started: Instant,
    reports: Vec<BlockReport>,
    looks: Looks,
    recalls: Recalls,
    begun: BegunAhead,
    /// Whether the COMMIT of the last block closed the boot.
    closed: AtomicBool,
}

/// Boots, until it is done or `stop` is: then the statement that runs is cancelled and everything uncommitted rolled back.
pub(crate) async fn boot_until(host: &Host, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
    leaving(host, stop, trying).await
}

fn trying(host: Host, pass: Arc<Pass>) -> Trying {
    Box::pin(async move { tries(&host, &pass).await })
}

/// The tries of a boot, or of what goes on behind one. In a box that no generic function makes, so that it is compiled here and once: the
/// future that an API compiles would be so deep that its compiler might refuse it.
type Trying = Pin<Box<dyn Future<Output = Result<Report, BootError>> + Send>>;

/// Tries on a thread of its own, until `stop` is done; listeners are told.
async fn leaving(host: &Host, stop: impl Future<Output = ()>, tries: fn(Host, Arc<Pass>) -> Trying) -> Result<Report, BootError> {
    let (host, pass) = (host.clone(), Arc::new(Pass::new(host, host.retry_budget)));
    let trying = tries(host.clone(), pass.clone());
    let work = |told| async move {
        host.teller.looking();
        let done = tokio::select! {
            done = trying => done,
            _ = told => Err(pass.leave().await),
        };
        pass.ended();
        host.forget_code();
        host.teller.over(&done);
        done
    };
    thread::on_its_own(stop, work).await
}

/// Tries until it is done, or fails in a way that will not pass, or has cost more time than the budget allows.
async fn tries(host: &Host, pass: &Pass) -> Result<Report, BootError> {
    let loading = host.clone();
    let loading = tokio::task::spawn_blocking(move || Listed::new(&loading));
    let name = host.connection_name();
    let mut began = Instant::now();
    // What is wrong with the components is said at once, whatever the server does.
    let (listed, mut connection) = tokio::join!(loading, host.database.connect(&name));
    let listed = Arc::new(listed.map_err(|_| BootError::Interrupted(None))??);
    loop {
        let connecting = connection.is_err();
        let error = match connection {
            Ok(connection) => match attempt(host, &listed, Arc::new(connection), pass).await {
                Ok(report) => return Ok(report),
                Err(error) => error,
            },
            Err(error) => error.into(),
        };
        let Some(cause) = transient::of_a_boot(&error) else { return Err(pass.given_up(error)) };
        let lost = if connecting { began.elapsed() } else { Duration::ZERO };
        let Some(pause) = pass.again(None, cause, lost) else { return Err(pass.given_up(error)) };
        pass.ended();
        tokio::time::sleep(pause).await;
        began = Instant::now();
        connection = host.database.connect(&name).await;
    }
}

/// One try: whose turn it is, and if it is ours, all of the work.
async fn attempt(host: &Host, listed: &Arc<Listed>, connection: Arc<Connection>, pass: &Pass) -> Result<Report, BootError> {
    pass.connected(&connection);
    let started = Instant::now();
    let turn = look::turn(host, listed, &connection, started).await?;
    let (held, known, opening, pooled, once_complete) = match turn {
        Turn::Nothing(mut report) | Turn::Joined(mut report) => {
            pass.complete(&mut report);
            return Ok(*report);
        }
        Turn::Ours { held, known, opening, pooled, once_complete } => (held, known, opening, pooled, once_complete),
    };
    // Loaded under the lock, before the claim: see `turn`.
    let loaded = listed.loaded(host)?;
    let opened = tokio::select! {
        opened = open::opened(host, loaded, pass, (&connection, &held), &known, opening) => opened,
        why = held.lost() => Err(BootError::LockLost(why)),
    };
    let Opened { sessions, mut plan, record, sandbox, ahead, questions, recalls, begun } = match opened {
        Ok(opened) => opened,
        Err(error) => {
            held.release().await;
            return Err(error);
        }
    };
    if pooled {
        plan.notes.push(POOLED.to_owned());
    }
    let mut boot = Boot {
        host,
        loaded,
        pass,
        plan,
        held: Some(&held),
        connection: sessions.blocks,
        ours: sessions.ours,
        record,
        sandbox,
        questions,
        once_complete,
        started,
        reports: Vec::new(),
        looks: Looks::default(),
        recalls,
        begun: BegunAhead::with(begun),
        closed: Default::default(),
    };
    pass.runs_on(&boot.connection);
    pass.opened(&boot.record, boot.report(BootState::Interrupted).boot, started);
    let lost = tokio::select! {
        done = boot.run(ahead) => return done,
        why = held.lost() => why,
    };
    // The block that ran is dropped, its transaction was not committed, and nothing more is written: not even that.
    let canceller = boot.connection.canceller();
    let _ = tokio::time::timeout(LOST, canceller.cancel()).await;
    boot.connection.give_up();
    Err(BootError::LockLost(lost))
}

/// Whether a block's transaction may begin before it is its turn: one that needs none, or most likely need not run, has no such transaction.
fn starts(component: &Component, recalls: &Recalls) -> bool {
    let manifest = &component.manifest;
    manifest.kind != Kind::Backfill && manifest.transaction != Wrapping::None && !recalls.may_spare(&manifest.id)
}

/// Whether a step is one of this boot's.
fn runs(step: &Step) -> bool {
    !matches!(step.action, Action::Skip | Action::Background)
}

impl Boot<'_> {
    /// What its blocks run on.
    fn ground(&self) -> Ground<'_> {
        Ground {
            host: self.host,
            sandbox: &self.sandbox,
            connection: &self.connection,
            questions: &self.questions,
            token: self.record.token.as_ref(),
            walled: self.walled(),
        }
    }

    async fn run(&mut self, mut ahead: Ahead) -> Result<Report, BootError> {
        let steps = self.plan.steps.clone();
        self.host.teller.started(self.record.boot, steps.iter().filter(|step| runs(step)).count());
        let (mut running, mut compiled) = (0, 0);
        for (place, step) in steps.iter().enumerate() {
            let Some(component) = self.loaded.components.get(step.component) else { continue };
            let report = match step.action {
                Action::Skip => self
                    .pass
                    .applied(&component.manifest.id)
                    .unwrap_or_else(|| BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Skipped)),
                _ if let Some(waiting) = self.waits(component) => waiting,
                Action::Background => BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Background),
                _ if let Some(report) = self.recalled(component, steps.get(place..).unwrap_or_default()).await => {
                    running += 1;
                    self.host.teller.block(&component.manifest.id, running);
                    self.host.teller.ended(&report);
                    self.pass.note(&report);
                    report
                }
                _ => {
                    ahead.reached(compiled);
                    compiled += 1;
                    running += 1;
                    self.host.teller.block(&component.manifest.id, running);
                    let mut report = self.block(component, step, steps.get(place + 1..).unwrap_or_default()).await;
                    self.host.teller.ended(&report);
                    // A rule that did its work in an earlier try finds nothing to do in this one, where none is recalled.
                    if report.outcome == Outcome::Unchanged
                        && let Some(earlier) = self.pass.applied(&report.id)
                    {
                        report = earlier;
                    }
                    self.pass.note(&report);
                    if report.outcome != Outcome::Unchanged {
                        self.recalls.forget();
                    }
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

    /// The block that runs next, if it has a transaction of the host's.
    fn next(&self, steps: &[Step]) -> Option<&Component> {
        let running = steps.iter().filter(|step| runs(step));
        let mut running = running.filter_map(|step| self.loaded.components.get(step.component));
        let next = running.find(|component| self.waits(component).is_none())?;
        starts(next, &self.recalls).then_some(next)
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

    /// Ends a boot that did all of its work.
    async fn complete(&mut self) -> Result<Report, BootError> {
        let closing = self.closing(None);
        self.reports.extend(closing.retired);
        if !self.closed.load(Ordering::Relaxed) {
            // Whoever is told that something was applied is told what is on the disk; also if a predecessor applied it that was killed.
            let applied = self.reports.iter().any(|report| report.outcome == Outcome::Applied);
            let statements = if applied || !self.once_complete {
                self.record.guarded(&closing.statements)
            } else {
                self.record.guarded_without_waiting(&closing.statements)
            };
            self.ours.send(&statements).await.map_err(|source| {
                BootError::Ledger(LedgerError::Database { schema: self.record.ledger.schema.clone(), doing: "written", source })
            })?;
        }
        Ok(self.report(closing.state))
    }

    /// Closes a boot whose last block failed. The block's own row was written when it was rolled back.
    async fn failed(&mut self) -> Result<Report, BootError> {
        let cause = self.reports.iter().find_map(|report| report.error.as_ref().map(|error| (report.id.as_str(), error)));
        let closing = self.record.guarded(&self.record.close(BootState::Failed, self.round_trips() + 1, cause));
        // The failure is what matters: if the ledger cannot be told any more, the next boot marks this one as interrupted.
        self.tell(&closing).await;
        Err(BootError::Failed(Box::new(self.report(BootState::Failed))))
    }

    /// Tells the ledger something, on another connection if a block has cost us ours. False if that cannot be done.
    async fn tell(&self, statements: &str) -> bool {
        let told = if self.ours.client().is_closed() {
            match self.host.database.connect(&self.host.connection_name()).await {
                Ok(other) => other.send(statements).await.map(drop).map_err(|error| crate::database_reason(&error)),
                Err(error) => Err(error.to_string()),
            }
        } else {
            self.ours.send(statements).await.map(drop).map_err(|error| crate::database_reason(&error))
        };
        if let Err(error) = &told {
            tracing::warn!(error, "the ledger cannot be told how a block ended");
        }
        told.is_ok()
    }

    fn component(&self, id: &str) -> Option<&Component> {
        self.loaded.components.iter().find(|component| component.manifest.id == *id)
    }

    fn round_trips(&self) -> u64 {
        let blocks = if self.walled() { self.connection.trips().get() } else { 0 };
        self.ours.trips().get() + blocks + self.held.map_or(0, Held::round_trips)
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
                retries: self.pass.retries(),
                blocks_role: self.blocks_role(),
                notes: self.plan.notes.clone(),
            },
            blocks: self.reports.clone(),
        }
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
