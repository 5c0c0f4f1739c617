//! What outlives a single try of a boot: what was done, what was tried again, and how to leave.

use super::{milliseconds, transient::Cause};
use crate::{
    database::{Canceller, Connection},
    error::BootError,
    events::Teller,
    host::Host,
    ledger::Record,
    report::{BlockReport, BootReport, BootState, Outcome, Report, Retry},
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often the connection may be lost during one block. A block that makes the server crash must not do it for ever.
const LOST_IN_A_BLOCK: usize = 3;
/// How long each of the three steps of leaving may take: asking the server to cancel, and telling the ledger, twice at most.
const LEAVE: Duration = Duration::from_millis(300);

/// A boot, over all of its tries.
pub(super) struct Pass {
    budget: Duration,
    teller: Teller,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Time lost so far.
    spent: Duration,
    backoff: ExponentialBackoff,
    retries: Vec<Retry>,
    /// Blocks that ran, by id.
    done: BTreeMap<String, BlockReport>,
    /// The block whose COMMIT was sent and not answered yet.
    committing: Option<BlockReport>,
    at: Option<At>,
}

/// Where a try is.
struct At {
    connection: Arc<Connection>,
    /// What blocks run on.
    blocks: Arc<Connection>,
    /// The boot in the ledger, once it has a row.
    opened: Option<(Record, BootReport, Instant)>,
}

fn backoff() -> ExponentialBackoff {
    let builder = ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_delay(Duration::from_secs(5));
    builder.with_jitter().without_max_times().build()
}

impl Pass {
    pub(super) fn new(host: &Host, budget: Duration) -> Pass {
        let inner = Inner {
            spent: Duration::ZERO,
            backoff: backoff(),
            retries: Vec::new(),
            done: BTreeMap::new(),
            committing: None,
            at: None,
        };
        Pass { budget, teller: host.teller.clone(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try has a connection.
    pub(super) fn connected(&self, connection: &Arc<Connection>) {
        self.inner().at = Some(At { connection: connection.clone(), blocks: connection.clone(), opened: None });
    }

    /// A try has a connection for its blocks.
    pub(super) fn runs_on(&self, blocks: &Arc<Connection>) {
        if let Some(at) = &mut self.inner().at {
            at.blocks = blocks.clone();
        }
    }

    /// A try has a row in the ledger.
    pub(super) fn opened(&self, record: &Record, report: BootReport, started: Instant) {
        if let Some(at) = &mut self.inner().at {
            at.opened = Some((record.clone(), report, started));
        }
    }

    /// A try ended: there is nothing to leave.
    pub(super) fn ended(&self) {
        self.inner().at = None;
    }

    /// A block is about to commit. Whether it did shows the answer, or the ledger if there is none.
    pub(super) fn commits(&self, report: &BlockReport) {
        self.inner().committing = Some(report.clone());
    }

    /// A block ended.
    pub(super) fn note(&self, report: &BlockReport) {
        let mut inner = self.inner();
        if matches!(report.outcome, Outcome::Applied | Outcome::Unchanged | Outcome::Deferred) {
            inner.backoff = backoff();
            inner.done.insert(report.id.clone(), report.clone());
        }
        if report.outcome != Outcome::Failed {
            inner.committing = None;
        }
    }

    /// What an earlier try did to a block that the ledger has as applied.
    pub(super) fn applied(&self, id: &str) -> Option<BlockReport> {
        let inner = self.inner();
        let done = inner.done.get(id).or_else(|| inner.committing.as_ref().filter(|report| report.id == *id));
        done.filter(|report| report.outcome == Outcome::Applied).cloned()
    }

    /// Whether to try again, after which pause. `lost` is the time that the failed try cost. Nothing if the budget is used up.
    pub(super) fn again(&self, block: Option<&str>, cause: Cause, lost: Duration) -> Option<Duration> {
        let mut inner = self.inner();
        let during = cause.block.as_deref().or(block).map(str::to_owned);
        let whole = block.is_none();
        if whole && cause.block.is_some() {
            let before = inner.retries.iter().filter(|retry| retry.block == during).count();
            if before + 1 >= LOST_IN_A_BLOCK {
                return None;
            }
        }
        inner.spent += lost;
        let pause = inner.backoff.next().unwrap_or(Duration::from_secs(5));
        if inner.spent + pause > self.budget {
            return None;
        }
        inner.spent += pause;
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.teller.retrying(during.as_deref(), &cause.message, pause);
        inner.retries.push(Retry { block: during, cause: cause.message, sqlstate: cause.sqlstate, pause_ms });
        Some(pause)
    }

    /// Puts what earlier tries did into the report of one that found nothing left to do: a COMMIT that was not answered may have ended the boot.
    pub(super) fn complete(&self, report: &mut Report) {
        report.boot.retries = self.retries();
        if report.boot.retries.is_empty() {
            return;
        }
        for block in &mut report.blocks {
            if let Some(earlier) = self.applied(&block.id) {
                report.boot.ran += 1;
                report.boot.skipped = report.boot.skipped.saturating_sub(usize::from(block.outcome == Outcome::Skipped));
                *block = earlier;
            }
        }
    }

    pub(super) fn retries(&self) -> Vec<Retry> {
        self.inner().retries.clone()
    }

    /// The error of the last try, with what was done in those before it.
    pub(super) fn given_up(&self, error: BootError) -> BootError {
        let retries = self.retries();
        if retries.is_empty() || matches!(error, BootError::Failed(_)) {
            return error;
        }
        let report = self.partial(BootState::Failed).map(Box::new);
        BootError::Exhausted { source: Box::new(error), retries, budget: self.budget, report }
    }

    /// What was done so far, if blocks ran.
    fn partial(&self, state: BootState) -> Option<Report> {
        let inner = self.inner();
        let opened = inner.at.as_ref().and_then(|at| at.opened.as_ref());
        if opened.is_none() && inner.done.is_empty() {
            return None;
        }
        let mut boot = opened.map_or_else(
            || BootReport::new(state),
            |(_, report, started)| BootReport { duration_ms: milliseconds(*started), ..report.clone() },
        );
        boot.state = state;
        boot.retries.clone_from(&inner.retries);
        boot.ran = inner.done.len();
        Some(Report { boot, blocks: inner.done.values().cloned().collect() })
    }

    /// Leaves: the statement that runs is cancelled, what is not committed is rolled back, the ledger is told. The try itself
    /// was dropped before, and its lock with it. Bounded, since whoever said stop will not wait.
    pub(super) async fn leave(&self) -> BootError {
        let report = self.partial(BootState::Interrupted);
        let at = self.inner().at.take();
        if let Some(at) = at {
            let canceller = at.blocks.canceller();
            let _ = tokio::time::timeout(LEAVE, canceller.cancel()).await;
            let close = match &at.opened {
                Some((record, _, _)) => {
                    let close = record.close(BootState::Interrupted, at.connection.trips().get() + 1, None);
                    format!("rollback; {}", record.guarded(&close))
                }
                None => "rollback".to_owned(),
            };
            // A cancel that comes late hits the first try.
            for _ in 0..2 {
                if let Ok(Ok(_)) = tokio::time::timeout(LEAVE, at.connection.send(&close)).await {
                    break;
                }
            }
        }
        BootError::Interrupted(report.map(Box::new))
    }
}

impl Drop for Pass {
    /// The boot's future was dropped, by a timeout of the caller's say: closing the connection alone would leave a long
    /// statement running on the server, with its locks.
    fn drop(&mut self) {
        let at = self.inner().at.take();
        if let (Some(at), Ok(runtime)) = (at, tokio::runtime::Handle::try_current()) {
            let canceller: Canceller = at.blocks.canceller();
            runtime.spawn(async move { canceller.cancel().await });
        }
    }
}
