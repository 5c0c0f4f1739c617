//! What a boot tells while it runs: events as they happen, and where it stands, for an API's health endpoint.

use crate::{
    error::BootError,
    ledger::Place,
    report::{BlockReport, BootState, Outcome, Report, RowCounts, shown},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, watch};

/// Events that a slow listener may fall behind before it misses some.
const KEPT: usize = 1024;
/// The most of a statement that is told, in bytes.
const SQL: usize = 300;

/// Something that happened in a boot. Serialises with its name under `event`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// Another replica runs: this one waits. Told once for each holder.
    Waiting {
        /// Who runs and since when, if it could be seen.
        holder: Option<String>,
    },
    /// The lock is held and the plan is made.
    Started {
        /// The boot's number in the ledger.
        boot: i64,
        /// Blocks that will run.
        blocks: usize,
    },
    /// A block begins.
    Block {
        /// Its id.
        id: String,
        /// Which of the blocks that run it is, counted from 1.
        place: usize,
        /// How many there are.
        of: usize,
    },
    /// A block sends a statement.
    Statement {
        /// The block.
        block: String,
        /// The number of the statement in the block, counted from 1.
        number: u64,
        /// Its text, shortened.
        sql: String,
    },
    /// A block ended.
    Ended {
        /// The block.
        block: String,
        /// How.
        outcome: Outcome,
        /// Rows that it changed, by table.
        rows: BTreeMap<String, RowCounts>,
        /// Milliseconds that it took.
        duration_ms: f64,
        /// Why it failed.
        error: Option<String>,
    },
    /// A batch of a backfill is committed.
    Batch {
        /// The block.
        block: String,
        /// Which batch it was, counted from 1 over all boots.
        number: u64,
        /// Rows that the backfill changed, this batch included.
        rows: u64,
        /// How far it has come, as the block counts.
        done: Option<u64>,
        /// Of how much.
        total: Option<u64>,
        /// Milliseconds that the batch took.
        duration_ms: f64,
        /// Rows that the next batch may have.
        next_rows: u64,
    },
    /// Something failed that may pass: it is tried again after a pause.
    Retrying {
        /// The block, unless it was the boot as a whole.
        block: Option<String>,
        /// What failed.
        cause: String,
        /// The pause, in milliseconds.
        pause_ms: u64,
    },
    /// The boot ended, or what went on behind it.
    Finished {
        /// How.
        state: BootState,
        /// Why, if it failed.
        error: Option<String>,
    },
}

/// What a host is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// No boot was started.
    #[default]
    Idle,
    /// Components are loaded, the ledger is looked at.
    Looking,
    /// Another replica runs.
    Waiting,
    /// Blocks run.
    Running,
    /// A pause before the next try.
    Retrying,
    /// The last boot ended, and the API may listen.
    Ready,
    /// The last boot failed or was interrupted.
    Failed,
}

/// Where a boot stands. Serialises with seconds in place of instants, as a health endpoint shows it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// What the host is doing.
    pub stage: Stage,
    /// Since when.
    pub since: Option<Instant>,
    /// The boot's number in the ledger, once it has one.
    pub boot: Option<i64>,
    /// Which of the blocks that run is running, counted from 1; 0 before the first.
    pub place: usize,
    /// How many blocks run.
    pub of: usize,
    /// The block that runs.
    pub block: Option<String>,
    /// Since when it runs.
    pub block_since: Option<Instant>,
    /// The number of the statement that it sent last.
    pub statement: u64,
    /// That statement, shortened.
    pub sql: Option<String>,
    /// When it was sent.
    pub statement_since: Option<Instant>,
    /// Batches of the backfill that runs, over all boots.
    pub batches: u64,
    /// Rows that they changed.
    pub rows: u64,
    /// How far the backfill has come, as it counts itself.
    pub done: Option<u64>,
    /// Of how much.
    pub total: Option<u64>,
    /// Who is waited for.
    pub holder: Option<String>,
    /// Why the last try failed.
    pub cause: Option<String>,
}

impl Serialize for Progress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |since: Option<Instant>| since.map(|since| (since.elapsed().as_secs_f64() * 10.0).round() / 10.0);
        let mut fields = serializer.serialize_struct("Progress", 16)?;
        fields.serialize_field("stage", &self.stage)?;
        fields.serialize_field("seconds", &seconds(self.since))?;
        fields.serialize_field("boot", &self.boot)?;
        fields.serialize_field("place", &self.place)?;
        fields.serialize_field("of", &self.of)?;
        fields.serialize_field("block", &self.block)?;
        fields.serialize_field("block_seconds", &seconds(self.block_since))?;
        fields.serialize_field("statement", &self.statement)?;
        fields.serialize_field("sql", &self.sql)?;
        fields.serialize_field("statement_seconds", &seconds(self.statement_since))?;
        fields.serialize_field("batches", &self.batches)?;
        fields.serialize_field("rows", &self.rows)?;
        fields.serialize_field("done", &self.done)?;
        fields.serialize_field("total", &self.total)?;
        fields.serialize_field("holder", &self.holder)?;
        fields.serialize_field("cause", &self.cause)?;
        fields.end()
    }
}

/// Where a host's events go. Clones tell the same listeners.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    events: broadcast::Sender<Event>,
    progress: watch::Sender<Progress>,
}

impl Default for Teller {
    fn default() -> Teller {
        Teller { events: broadcast::Sender::new(KEPT), progress: watch::Sender::new(Progress::default()) }
    }
}

impl Teller {
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Nobody may listen, which is fine.
    fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event());
        }
    }

    pub(crate) fn looking(&self) {
        let started = Progress { stage: Stage::Looking, since: Some(Instant::now()), ..Progress::default() };
        self.progress.send_replace(started);
    }

    pub(crate) fn waiting(&self, holder: Option<&str>) {
        tracing::info!(holder = holder.unwrap_or("unknown"), "another boot holds the lock: waiting for it");
        self.progress.send_modify(|progress| {
            if progress.stage != Stage::Waiting {
                (progress.stage, progress.since) = (Stage::Waiting, Some(Instant::now()));
            }
            progress.holder = holder.map(str::to_owned);
        });
        self.tell(|| Event::Waiting { holder: holder.map(str::to_owned) });
    }

    pub(crate) fn started(&self, boot: i64, blocks: usize) {
        let cause = self.progress.borrow().cause.clone();
        self.progress.send_replace(Progress {
            stage: Stage::Running,
            since: Some(Instant::now()),
            boot: Some(boot),
            of: blocks,
            cause,
            ..Progress::default()
        });
        self.tell(|| Event::Started { boot, blocks });
    }

    pub(crate) fn block(&self, id: &str, place: usize) {
        let now = Some(Instant::now());
        let mut of = 0;
        self.progress.send_modify(|progress| {
            if progress.stage != Stage::Running {
                (progress.stage, progress.since) = (Stage::Running, now);
            }
            (progress.place, progress.block, progress.block_since) = (place, Some(id.to_owned()), now);
            (progress.statement, progress.sql, progress.statement_since) = (0, None, None);
            (progress.batches, progress.rows, progress.done, progress.total) = (0, 0, None, None);
            of = progress.of;
        });
        tracing::info!(block = id, "running {place} of {of}");
        self.tell(|| Event::Block { id: id.to_owned(), place, of });
    }

    pub(crate) fn statement(&self, number: u64, sql: &str) {
        let sql = shown(sql, SQL);
        let mut block = None;
        self.progress.send_modify(|progress| {
            (progress.statement, progress.sql, progress.statement_since) = (number, Some(sql.clone()), Some(Instant::now()));
            block.clone_from(&progress.block);
        });
        self.tell(|| Event::Statement { block: block.unwrap_or_default(), number, sql });
    }

    pub(crate) fn batch(&self, block: &str, place: &Place, next_rows: u64, took: Duration) {
        let rows = place.total_rows();
        tracing::debug!(block, number = place.batches, rows, next_rows, "a batch took {} ms", took.as_millis());
        self.progress.send_modify(|progress| {
            (progress.batches, progress.rows, progress.done, progress.total) = (place.batches, rows, place.done, place.total);
        });
        self.tell(|| Event::Batch {
            block: block.to_owned(),
            number: place.batches,
            rows,
            done: place.done,
            total: place.total,
            duration_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            next_rows,
        });
    }

    pub(crate) fn ended(&self, report: &BlockReport) {
        self.progress.send_modify(|progress| {
            (progress.block, progress.block_since, progress.sql, progress.statement_since) = (None, None, None, None);
        });
        self.tell(|| Event::Ended {
            block: report.id.clone(),
            outcome: report.outcome,
            rows: report.rows.clone(),
            duration_ms: report.duration_ms,
            error: report.error.as_ref().map(ToString::to_string),
        });
    }

    pub(crate) fn retrying(&self, block: Option<&str>, cause: &str, pause: Duration) {
        tracing::warn!(block, cause, "this may pass: trying again in {} ms", pause.as_millis());
        self.progress.send_modify(|progress| {
            (progress.stage, progress.since) = (Stage::Retrying, Some(Instant::now()));
            progress.cause = Some(cause.to_owned());
        });
        self.tell(|| Event::Retrying {
            block: block.map(str::to_owned),
            cause: cause.to_owned(),
            pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// The pause is over.
    pub(crate) fn again(&self, block: &str) {
        tracing::debug!(block, "again");
        self.progress.send_modify(|progress| (progress.stage, progress.since) = (Stage::Running, Some(Instant::now())));
    }

    /// A boot, or what went on behind one, is over.
    pub(crate) fn over(&self, done: &Result<Report, BootError>) {
        match done {
            Ok(report) => self.finished(report.boot.state, None),
            Err(BootError::Interrupted(_)) => self.finished(BootState::Interrupted, None),
            Err(error) => self.finished(BootState::Failed, Some(error.to_string())),
        }
    }

    fn finished(&self, state: BootState, error: Option<String>) {
        let failed = matches!(state, BootState::Failed | BootState::Interrupted);
        self.progress.send_modify(|progress| {
            let boot = progress.boot;
            *progress = Progress {
                stage: if failed { Stage::Failed } else { Stage::Ready },
                since: Some(Instant::now()),
                boot,
                cause: error.clone(),
                ..Progress::default()
            };
        });
        self.tell(|| Event::Finished { state, error });
    }
}
