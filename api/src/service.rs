//! What all parts of the running service share.

use crate::{
    config::Config,
    metrics::Metrics,
    reason::reason,
    scheduler::{Cadence, Minute, Recorded, Ticked, tick},
    traces::Traces,
};
use deadpool_postgres::Pool;
use plinth::{BootError, Host, Progress, Report};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;

/// How far the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Plinth runs; nothing is served but this.
    Booting,
    /// The data is looked at.
    Validating,
    /// Everything is served.
    Serving,
    /// It was told to stop; what runs may end.
    Stopping,
    /// It does not start, and ends.
    Failed,
}

/// A block that puts its work off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Deferral {
    /// The block.
    pub block: String,
    /// How often in a row.
    pub times: u32,
    /// Why, in its own words.
    pub reason: Option<String>,
}

/// The last boot of this process.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LastBoot {
    /// Its number in the ledger.
    pub id: Option<i64>,
    /// How it ended: complete, deferred, joined or failed.
    pub state: String,
    /// Milliseconds.
    pub duration_ms: f64,
    /// Blocks that ran.
    pub ran: usize,
    /// Why it failed.
    pub error: Option<String>,
}

/// What the last boot left for health to tell: kept here, so that a probe never waits for the database.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The last boot that ended.
    pub boot: Option<LastBoot>,
    /// Blocks that put their work off.
    pub deferrals: Vec<Deferral>,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

/// Why no boot was run.
#[derive(Debug)]
pub enum Refused {
    /// One runs already.
    Busy,
    /// It failed.
    Failed(Box<BootError>),
}

/// What all parts of the running service share.
pub struct Service {
    /// The configuration.
    pub config: Config,
    /// Connections for requests and the scheduler.
    pub pool: Pool,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// How often capabilities are tested.
    pub cadence: Cadence,
    host: Host,
    /// Another for the backfills behind a boot: a boot may run while they go on, and each tells its own progress.
    behind: Host,
    traces: Traces,
    progress: watch::Receiver<Progress>,
    behind_progress: watch::Receiver<Progress>,
    phase: watch::Sender<Phase>,
    told: Mutex<Told>,
    booting: Arc<tokio::sync::Mutex<()>>,
    /// A boot ended, and may have left backfills.
    pub(crate) booted: Notify,
    started: Instant,
}

impl Service {
    /// A service that has not booted yet.
    pub fn new(config: Config, pool: Pool, traces: Traces) -> Service {
        let (host, behind) = (config.host(), config.host());
        Service {
            progress: host.progress(),
            host,
            behind_progress: behind.progress(),
            behind,
            pool,
            traces,
            metrics: Metrics::default(),
            cadence: Cadence::default(),
            phase: watch::Sender::new(Phase::Booting),
            told: Mutex::default(),
            booting: Arc::default(),
            booted: Notify::new(),
            started: Instant::now(),
            config,
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host that runs backfills behind the boot.
    pub fn behind(&self) -> &Host {
        &self.behind
    }

    /// How far the process has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to another phase.
    pub fn enter(&self, phase: Phase) {
        tracing::info!(?phase, "entering");
        self.phase.send_replace(phase);
    }

    /// Where the host stands.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Where the backfills behind the boot stand.
    pub fn behind_progress(&self) -> Progress {
        self.behind_progress.borrow().clone()
    }

    /// Seconds since the process began.
    pub fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// What the last boot left for health to tell.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds to what somebody should know; of one boot, since the next one begins anew.
    pub fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        self.told.lock().unwrap_or_else(PoisonError::into_inner).warnings.push(warning);
    }

    /// Boots, one at a time, until `stop` is done.
    ///
    /// # Errors
    ///
    /// If a boot of this process runs already, or this one fails.
    pub async fn boot(&self, stop: impl Future<Output = ()>) -> Result<Report, Refused> {
        let Ok(_one) = self.booting.try_lock() else { return Err(Refused::Busy) };
        let recording = self.traces.record(self.host.events());
        let booted = self.host.boot_until(stop).await;
        let report = booted.as_ref().ok().or_else(|| booted.as_ref().err().and_then(BootError::report));
        if let Some(report) = report {
            self.metrics.boot(report);
        }
        self.traces.write(recording, report, booted.as_ref().err().map(ToString::to_string)).await;
        self.remember(&booted).await;
        if booted.is_ok() {
            self.booted.notify_one();
        }
        booted.map_err(|error| Refused::Failed(Box::new(error)))
    }

    /// Keeps what health tells of a boot.
    async fn remember(&self, booted: &Result<Report, BootError>) {
        let (report, error) = match booted {
            Ok(report) => (Some(report), None),
            Err(error) => (error.report(), Some(error.to_string())),
        };
        let boot = LastBoot {
            id: report.and_then(|report| report.boot.id),
            state: report.map_or("failed", |report| report.boot.state.as_str()).to_owned(),
            duration_ms: report.map_or(0.0, |report| report.boot.duration_ms),
            ran: report.map_or(0, |report| report.boot.ran),
            error,
        };
        let mut told = Told {
            boot: Some(boot),
            warnings: report.map(|report| report.boot.notes.clone()).unwrap_or_default(),
            ..Told::default()
        };
        // Without the ledger, the count of a deferral is not known, but the boot is.
        if let Ok(status) = self.host.status().await {
            let put_off = status.blocks.into_iter().filter(|block| block.retired_at.is_none() && block.deferrals > 0);
            told.deferrals =
                put_off.map(|block| Deferral { block: block.id, times: block.deferrals, reason: block.message }).collect();
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// One look of the scheduler.
    ///
    /// # Errors
    ///
    /// If the database cannot be read or written, in words.
    pub async fn tick(&self, minute: Minute) -> Result<Ticked, String> {
        let mut client = self.pool.get().await.map_err(|error| reason(&error))?;
        let ticked =
            tick(&mut client, &Recorded, &self.cadence, SystemTime::now(), minute).await.map_err(|error| reason(&error))?;
        self.metrics.ticked(&ticked);
        Ok(ticked)
    }
}
