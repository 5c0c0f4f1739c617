//! A backfill: batch after batch, each a transaction of its own that commits with its cursor.
//!
//! The loop is the host's. Whoever runs a backfill holds a lock of that backfill, in a boot and behind it, and the ledger's row moves
//! only from where the batch began, so that no row is worked on twice even if the lock is lost.

pub(crate) mod background;
pub(crate) mod pace;

use super::{
    Boot,
    block::{deferred, failed, note},
    milliseconds,
    transaction::{Begun, Broken, Durable, Measured, Transaction},
    transient,
};
use crate::{
    error::BootError,
    host::Host,
    ledger::{Known, Place, Record, Row},
    load::Component,
    lock::{Attempt, Claimant, Claimed, Held, pause},
    plan::Step,
    report::{BlockReport, ErrorClass, Outcome, ReportError},
    sandbox::{Ended, Stepped},
};
use pace::{LAG, Pace, Pressure};
use plinth_manifest::Changed;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_postgres::error::SqlState;

/// How often in a row a batch is tried that waited too long for a lock or a statement.
const TRIES: u32 = 8;
/// How long a lagging replica is waited for before the next batch, at most. One that never catches up makes a backfill slow, and
/// does not stop it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// How a batch ended.
enum Batch<'a> {
    /// It is committed, and there is more.
    More(Pressure),
    /// It is committed, and it was the last one.
    Last,
    /// It is rolled back, since the backfill does not stand any more where it began: a predecessor's last batch came in between.
    Moved(Broken<'a>),
    /// The block puts the rest off.
    Deferred(Box<Transaction<'a>>, String),
    /// It must be rolled back.
    Broken(Broken<'a>),
    /// It never began.
    Before(ReportError),
}

impl Boot<'_> {
    /// Runs a backfill from where it stands to its end. Failures are part of the report.
    pub(super) async fn backfill(&self, component: &Component, step: &Step) -> BlockReport {
        let started = Instant::now();
        let mut report = BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Failed);
        match alone(self.host, component, Some(self.host.lock_deadline)).await {
            Ok(Some(alone)) => {
                self.backfill_alone(component, step, &alone, &mut report, started).await;
                alone.release().await;
            }
            Ok(None) => report.outcome = Outcome::Joined,
            Err(error) => report.error = Some(ReportError::new(ErrorClass::Connection, error.to_string())),
        }
        report.duration_ms = milliseconds(started);
        report
    }

    /// The same, with the backfill's lock held.
    async fn backfill_alone(&self, component: &Component, step: &Step, alone: &Held, report: &mut BlockReport, started: Instant) {
        let manifest = &component.manifest;
        let mut place = match self.place(component).await {
            Ok(place) => place,
            Err(error) => {
                report.error = Some(ReportError::of_host(&error, "the backfill cannot be begun"));
                return;
            }
        };
        let before = place.batches;
        if before > 0 {
            tracing::info!(block = %manifest.id, batches = before, rows = place.total_rows(), "goes on from its last batch");
        }
        let mut pace = Pace::new(manifest.batch.unwrap_or_default(), place.size, manifest.budget.rows);
        let mut tries = 0;
        loop {
            let began = Instant::now();
            match self.batch(component, &mut place, &pace, alone, report).await {
                Batch::More(pressure) => {
                    tries = 0;
                    let took = began.elapsed();
                    let pressure = self.lag(pressure).await.unwrap_or(pressure);
                    let pause = pace.took(took, &pressure, &self.host.limits);
                    self.host.teller.batch(&manifest.id, &place, pace.rows(), took);
                    tokio::time::sleep(pause).await;
                    self.catch_up(&pressure).await;
                }
                Batch::Last => {
                    self.host.teller.batch(&manifest.id, &place, pace.rows(), began.elapsed());
                    return;
                }
                Batch::Moved(Broken { mut transaction, error, .. }) => {
                    tries += 1;
                    if tries < TRIES
                        && transaction.roll_back("select").await
                        && let Ok(again) = self.place(component).await
                    {
                        place = again;
                        continue;
                    }
                    report.error = Some(error);
                    return;
                }
                Batch::Deferred(mut transaction, reason) => {
                    note(&mut transaction, report, started);
                    report.rows.clone_from(&place.rows);
                    deferred(component, step, reason, report);
                    transaction.roll_back(&self.outcome(component, report)).await;
                    return;
                }
                Batch::Broken(Broken { mut transaction, error, .. }) => {
                    tries += 1;
                    if may_pass(&error) && tries < TRIES && transaction.roll_back("select").await {
                        let pause = pace.failed(tries);
                        self.host.teller.retrying(Some(&manifest.id), &error.to_string(), pause);
                        tokio::time::sleep(pause).await;
                        continue;
                    }
                    let hint = format!("{} batches are committed and stay: the next boot goes on after them", place.batches);
                    let hint = error.hint.as_ref().map_or_else(|| hint.clone(), |theirs| format!("{theirs}; {hint}"));
                    note(&mut transaction, report, started);
                    report.rows.clone_from(&place.rows);
                    failed(component, step, error.hint(hint), report);
                    transaction.roll_back(&self.outcome(component, report)).await;
                    return;
                }
                Batch::Before(error) => {
                    report.error = Some(error);
                    self.connection.end_with("rollback").await;
                    self.tell(&self.outcome(component, report)).await;
                    return;
                }
            }
        }
    }

    /// Where the backfill stands.
    async fn place(&self, component: &Component) -> Result<Place, tokio_postgres::Error> {
        let open = self.record.guarded(&self.record.open_backfill(component));
        Ok(Place::read(&self.ours.send(&open).await?, 1).unwrap_or_default())
    }

    /// What is recorded of a backfill that did not come to its end.
    fn outcome(&self, component: &Component, report: &BlockReport) -> String {
        self.record.guarded(&self.record.rows(&[Row::new(report, Some(component))]))
    }

    /// One batch, from its BEGIN to its COMMIT. `place` moves only if it is committed.
    async fn batch<'a>(
        &'a self,
        component: &'a Component,
        place: &mut Place,
        pace: &Pace,
        alone: &Held,
        report: &mut BlockReport,
    ) -> Batch<'a> {
        let begun = match Begun::begin(self, component).await {
            Ok(begun) => begun,
            Err(error) => return Batch::Before(error),
        };
        let (worked, stepped) = match begun.step(place.cursor.as_deref(), pace.rows()).await {
            Ok(worked) => worked,
            Err(broken) => return Batch::Broken(broken),
        };
        let mut to = Place { batches: place.batches + 1, size: Some(pace.rows()), ..place.clone() };
        let (mut measured, pressure, last) = match stepped {
            Stepped::Ended(Ended::Deferred(reason)) => return Batch::Deferred(worked.give_up(), reason),
            Stepped::More { cursor, progress } => {
                to.cursor = Some(cursor);
                if let Some((done, total)) = progress {
                    (to.done, to.total) = (Some(done), total.or(to.total));
                }
                match worked.measure_batch().await {
                    Ok((measured, pressure)) => (measured, pressure, None),
                    Err(broken) => return Batch::Broken(broken),
                }
            }
            Stepped::Ended(Ended::Done(message)) => match worked.verify().await {
                Ok(verified) => match verified.measure().await {
                    Ok(measured) => (measured, Pressure::default(), Some(message)),
                    Err(broken) => return Batch::Broken(broken),
                },
                Err(broken) => return Batch::Broken(broken),
            },
        };
        if last.is_none() && to.cursor == place.cursor && measured.effects.rows.is_empty() {
            let error = ReportError::new(
                ErrorClass::Block,
                "a batch changed nothing and its cursor is where it was: this would go on for ever",
            );
            return Batch::Broken(
                measured.fail(error.hint("return the last key of the batch as its cursor, or say that the work is done")),
            );
        }
        for (table, counts) in measured.effects.rows_by_name() {
            to.rows.entry(table).or_default().add(counts);
        }
        told(&mut measured, report);
        // The fence of the backfill's lock; that of the boot's goes with every COMMIT of a boot.
        let advance = self.record.advance(&component.manifest.id, &to, last.is_some());
        let mut record = format!("{}; {advance}", alone.token().fence());
        let finished = last.is_some();
        if let Some(message) = last {
            report.outcome = Outcome::Applied;
            report.rows.clone_from(&to.rows);
            report.message = Some(message.unwrap_or_else(|| format!("{} batches", to.batches)));
            record = format!("{record}; {}", self.record.rows(&[Row::new(report, Some(component))]));
        }
        if !alone.is_held() {
            report.outcome = Outcome::Failed;
            let error = ReportError::new(ErrorClass::Fenced, "the backfill's lock was lost");
            return Batch::Broken(measured.fail(error));
        }
        match measured.commit(&[record], Durable::AtOnce, None).await {
            Ok(_) => {
                *place = to;
                if finished { Batch::Last } else { Batch::More(pressure) }
            }
            Err(broken) => {
                report.outcome = Outcome::Failed;
                if broken.error.sqlstate.as_deref() == Some(Record::MOVED) { Batch::Moved(broken) } else { Batch::Broken(broken) }
            }
        }
    }

    /// Waits for a replica that is too far behind.
    async fn catch_up(&self, pressure: &Pressure) {
        let mut pressure = *pressure;
        let until = Instant::now() + CATCH_UP;
        while pressure.lags(&self.host.limits) && Instant::now() < until {
            tracing::debug!(seconds = pressure.lag, bytes = pressure.lag_bytes, "a replica is behind: waiting for it");
            tokio::time::sleep(Duration::from_millis(200)).await;
            let Some(now) = self.lag(pressure).await else { return };
            pressure = now;
        }
    }

    /// How far replicas are behind now; none if that cannot be asked, and then the next batch will tell.
    async fn lag(&self, pressure: Pressure) -> Option<Pressure> {
        self.ours.send(LAG).await.ok().map(|sets| pressure.lagging(&sets))
    }
}

/// Adds what a batch did to the backfill's report.
fn told(measured: &mut Measured<'_>, report: &mut BlockReport) {
    for lock in &measured.effects.locks {
        if !report.locks.contains(lock) {
            report.locks.push(lock.clone());
        }
    }
    let running = measured.running();
    report.statements += running.session().statements();
    // One batch logs as much as a block may; what the last ones say matters most.
    report.journal = running.journal();
}

/// Whether a smaller batch may come through. Other than a block, one whose statement took too long.
fn may_pass(error: &ReportError) -> bool {
    transient::of_a_transaction(error).is_some() || error.sqlstate.as_deref() == Some(SqlState::QUERY_CANCELED.code())
}

/// Takes the lock of a backfill; none if it was done while it was waited for.
///
/// It is a lock like that of boots, of an application whose only work is this backfill.
async fn alone(host: &Host, component: &Component, deadline: Option<Duration>) -> Result<Option<Held>, BootError> {
    let manifest = &component.manifest;
    let started = Instant::now();
    let mut only = host.clone();
    only.ledger.application = format!("{} backfill {}", host.ledger.application, manifest.id);
    let mut claimant = Claimant::new(&only, Arc::new(host.database.connect(&host.connection_name()).await?), true);
    for attempt in 0.. {
        match claimant.attempt(&host.ledger.known_query("", true)).await? {
            Attempt::Ours(Claimed { held, read }) => {
                let digest = component.digest.to_string();
                let known = Known::read(&read, 0);
                let done = known
                    .get(&manifest.id)
                    .is_some_and(|entry| entry.applied && (entry.digest == digest || manifest.changed != Changed::Rerun));
                if done {
                    held.release().await;
                    return Ok(None);
                }
                return Ok(Some(held));
            }
            Attempt::Busy { holder } if deadline.is_some_and(|deadline| started.elapsed() > deadline) => {
                return Err(BootError::Locked { waited: started.elapsed(), holder });
            }
            Attempt::Busy { holder } if attempt == 0 => host.teller.waiting(holder.as_deref()),
            Attempt::Busy { .. } => {}
        }
        tokio::time::sleep(pause(attempt)).await;
    }
    Ok(None)
}
