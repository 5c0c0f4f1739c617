//! One block of a boot: begin, work, verify, measure, commit; or back to where it was.

use super::{
    Boot, milliseconds,
    transaction::{Begun, Broken, Durable, Measured, Transaction},
    transient,
};
use crate::{
    ledger::{Recall, Row, json},
    load::Component,
    plan::{Action, Step},
    report::{BlockReport, ErrorClass, Outcome, ReportError},
    sandbox::{Ended, Stepped},
};
use plinth_manifest::{Kind, OnFailure, Transaction as Wrapping};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

impl Boot<'_> {
    /// Runs a block, again if it fails in a way that may pass. Failures are part of the report. With its end rides the begin of the next one, or
    /// the end of the boot.
    pub(super) async fn block(&self, component: &Component, step: &Step, coming: &[Step]) -> BlockReport {
        if component.manifest.kind == Kind::Backfill {
            return self.backfill(component, step).await;
        }
        let mut resumed = step.action == Action::Resume;
        for attempt in 1.. {
            let started = Instant::now();
            let mut report = BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Failed);
            report.attempts = attempt;
            let again = if component.manifest.transaction == Wrapping::None {
                self.outside(component, resumed, &mut report, started).await
            } else {
                self.once(component, step, coming, &mut report, started).await
            };
            let Some(pause) = again else { return report };
            resumed = true;
            tokio::time::sleep(pause).await;
            self.host.teller.again(&component.manifest.id);
        }
        BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Failed)
    }

    /// Tries a block in a transaction. A pause, if it is to be tried once more.
    async fn once(
        &self,
        component: &Component,
        step: &Step,
        coming: &[Step],
        report: &mut BlockReport,
        started: Instant,
    ) -> Option<Duration> {
        match self.inside(component, coming, report, started).await {
            Ok(()) => {}
            Err(Stopped::Deferred(transaction, reason)) => {
                self.put_off(component, step, transaction, reason, report, started).await;
            }
            Err(Stopped::Broken(broken)) => {
                let Broken { mut transaction, error, .. } = broken;
                note(&mut transaction, report, started);
                let again = self.again(component, &error, started);
                if again.is_some() && transaction.roll_back("select").await {
                    return again;
                }
                failed(component, step, error, report);
                let record = self.record.guarded(&self.record.rows(&[Row::new(report, Some(component))]));
                transaction.roll_back(&record).await;
            }
            Err(Stopped::Before(error)) => {
                report.duration_ms = milliseconds(started);
                report.error = Some(error);
                // It may have begun, and failed at what rides with BEGIN.
                let rows = self.record.rows(&[Row::new(report, Some(component))]);
                if !self.walled() {
                    self.tell(&format!("rollback; {}", self.record.guarded(&rows))).await;
                } else {
                    self.connection.end_with("rollback").await;
                    self.tell(&self.record.guarded(&rows)).await;
                }
            }
        }
        None
    }

    /// The pause before a block is tried again; none if it failed in a way that will not pass.
    pub(super) fn again(&self, component: &Component, error: &ReportError, started: Instant) -> Option<Duration> {
        let cause = transient::of_a_transaction(error)?;
        self.pass.again(Some(&component.manifest.id), cause, started.elapsed())
    }

    async fn inside<'a>(
        &'a self,
        component: &'a Component,
        coming: &[Step],
        report: &mut BlockReport,
        started: Instant,
    ) -> Result<(), Stopped<'a>> {
        let begun = Begun::begin(self, component).await.map_err(Stopped::Before)?;
        let measured = self.tried(begun, component, report, started).await?;
        // A rule that changed nothing has nothing to commit: its row is written with the boot's end, at no cost of its own.
        let record = (report.outcome == Outcome::Applied).then(|| {
            let rows = json(&[Row::new(report, Some(component))]);
            self.questions.record(&rows, self.record.boot, |rows, boot| self.record.ledger.write(rows, boot))
        });
        // Whoever is told that the boot is over is told what is on the disk.
        let closing = record.as_ref().and_then(|_| self.closes_with(report, coming));
        let durable = if closing.is_some() { Durable::AtOnce } else { Durable::WithTheBoot };
        let closes = closing.is_some();
        let record: Vec<String> = record.into_iter().chain(closing).collect();
        self.pass.commits(report);
        match measured.commit(&record, durable, self.next(coming)).await {
            Ok(_) => {
                self.closed.store(closes, Ordering::Relaxed);
                report.duration_ms = milliseconds(started);
                Ok(())
            }
            Err(broken) => {
                report.outcome = Outcome::Failed;
                Err(Stopped::Broken(broken))
            }
        }
    }

    /// Everything between the begin of a block's transaction and its end.
    pub(super) async fn tried<'a>(
        &'a self,
        begun: Begun<'a>,
        component: &'a Component,
        report: &mut BlockReport,
        started: Instant,
    ) -> Result<Measured<'a>, Stopped<'a>> {
        // Of a backfill a rehearsal tries the first batch; a boot has other ways for it.
        let (worked, ended) = match component.manifest.kind {
            Kind::Backfill => begun.step(None, component.manifest.batch.unwrap_or_default().rows).await,
            _ => begun.work().await.map(|(worked, ended)| (worked, Stepped::Ended(ended))),
        }
        .map_err(Stopped::Broken)?;
        let (mut measured, message) = match ended {
            Stepped::Ended(Ended::Deferred(reason)) => return Err(Stopped::Deferred(worked.give_up(), reason)),
            Stepped::Ended(Ended::Done(message)) => {
                let verified = worked.verify().await.map_err(Stopped::Broken)?;
                (verified.measure().await.map_err(Stopped::Broken)?, message)
            }
            Stepped::More { .. } => {
                let (measured, _) = worked.measure_batch().await.map_err(Stopped::Broken)?;
                (measured, Some("its first batch".to_owned()))
            }
        };
        self.looks.note(&component.manifest.id, measured.running().session().asked());
        let effects = measured.effects.clone();
        if component.manifest.kind == Kind::Rule && !effects.rows.is_empty() {
            let contested = match measured.looked().await {
                Ok(()) => self.contested(component, &effects).await,
                broken => broken,
            };
            if let Err(error) = contested {
                return Err(Stopped::Broken(measured.fail(error)));
            }
        }
        let changed = effects.any() || component.manifest.kind.runs_once();
        report.outcome = if changed { Outcome::Applied } else { Outcome::Unchanged };
        report.rows = effects.rows_by_name();
        report.objects = effects.objects;
        report.locks = effects.locks;
        report.message = message;
        report.statements = measured.running().session().statements();
        report.journal = measured.running().journal();
        report.duration_ms = milliseconds(started);
        if report.outcome == Outcome::Unchanged {
            let recall = Recall::of(component, measured.running().session().asked_only(), report);
            report.recall = self.recalls.news(&component.manifest.id, recall).map(Box::new);
        }
        Ok(measured)
    }

    /// A block that puts its work off: everything is rolled back, the deferral is counted, and one too many is a failure.
    async fn put_off(
        &self,
        component: &Component,
        step: &Step,
        mut transaction: Box<Transaction<'_>>,
        reason: String,
        report: &mut BlockReport,
        started: Instant,
    ) {
        note(&mut transaction, report, started);
        deferred(component, step, reason, report);
        let record = self.record.guarded(&self.record.rows(&[Row::new(report, Some(component))]));
        transaction.roll_back(&record).await;
    }
}

/// What a failure makes of a block: one that may wait is put off, as long as it was not too often.
pub(super) fn failed(component: &Component, step: &Step, error: ReportError, report: &mut BlockReport) {
    report.error = Some(error);
    let may_wait = component.manifest.on_failure == OnFailure::Defer && step.deferrals < component.manifest.deferrals;
    report.outcome = if may_wait { Outcome::Deferred } else { Outcome::Failed };
}

/// What it makes of a block that it puts its work off.
pub(super) fn deferred(component: &Component, step: &Step, reason: String, report: &mut BlockReport) {
    let most = component.manifest.deferrals;
    if step.deferrals < most {
        report.outcome = Outcome::Deferred;
        report.message = Some(reason);
    } else {
        let message = format!("the block put its work off {} times in a row, {most} are allowed: {reason}", step.deferrals + 1);
        report.error = Some(ReportError::new(ErrorClass::Block, message));
    }
}

/// Why a block did not commit.
pub(super) enum Stopped<'a> {
    /// Its transaction never began.
    Before(ReportError),
    /// It must be rolled back.
    Broken(Broken<'a>),
    /// The block asked for it.
    Deferred(Box<Transaction<'a>>, String),
}

pub(super) fn note(transaction: &mut Transaction<'_>, report: &mut BlockReport, started: Instant) {
    report.rows.clear();
    report.objects.clear();
    report.locks.clear();
    report.statements = transaction.running.session().statements();
    report.journal = transaction.running.journal();
    report.duration_ms = milliseconds(started);
}
