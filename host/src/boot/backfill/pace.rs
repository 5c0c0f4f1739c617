//! How large the next batch is: such that it takes about the time that is aimed at, and less while others suffer from it.

use crate::{
    database::{ResultSets, simple::text},
    sandbox::Limits,
};
use plinth_manifest::Batch;
use std::time::Duration;

/// How much larger or smaller a batch is than the one before it, at most: one that was slow or fast by chance is no rule.
const STEP: f64 = 2.0;
/// How long others are let through, at most, after a batch that they waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// The size of batches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pace {
    rows: u64,
    most: u64,
    aim: Duration,
}

impl Pace {
    /// Goes on with the size that was found out before, if there is one.
    pub(super) fn new(batch: Batch, kept: Option<u64>, budget: Option<u64>) -> Pace {
        let most = budget.map_or(batch.most_rows, |budget| budget.min(batch.most_rows)).max(1);
        Pace { rows: kept.unwrap_or(batch.rows).clamp(1, most), most, aim: batch.aim() }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Learns from a batch. Returns how long others are let through before the next one.
    pub(super) fn took(&mut self, took: Duration, pressure: &Pressure, limits: &Limits) -> Duration {
        if pressure.lags(limits) {
            self.times(1.0 / STEP);
            return Duration::ZERO;
        }
        if pressure.waiting > 0 {
            self.times(1.0 / STEP);
            return took.min(PAUSE);
        }
        self.times((self.aim.as_secs_f64() / took.as_secs_f64().max(1e-6)).clamp(1.0 / STEP, STEP));
        Duration::ZERO
    }

    /// Learns from a batch that waited too long for a lock or a statement. Returns a pause, longer each time.
    pub(super) fn failed(&mut self, tries: u32) -> Duration {
        self.times(1.0 / STEP);
        Duration::from_millis(100 * u64::from(tries.min(10)).pow(2))
    }

    fn times(&mut self, factor: f64) {
        self.rows = ((self.rows as f64 * factor).round() as u64).clamp(1, self.most);
    }
}

/// What others suffer while a batch runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pressure {
    /// Sessions that wait for a lock of this one.
    pub(super) waiting: u64,
    /// How far the slowest replica is behind, in seconds.
    pub(super) lag: f64,
    /// The same in bytes, which also tells of one that does not answer.
    pub(super) lag_bytes: f64,
}

/// Asks on the connection of a batch who waits for it: `pg_locks` shows everybody's waits to everybody.
pub(crate) const WAITING: &str =
    "select count(distinct pid) from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))";

/// Asks on the host's own connection how far replicas are behind: the server tells that to superusers and members of `pg_monitor`,
/// and shows others a replica without its place.
pub(crate) const LAG: &str = "select coalesce(max(extract(epoch from replay_lag)), 0),
    coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0) from pg_stat_replication";

fn number(sets: &ResultSets, set: usize, place: usize) -> f64 {
    sets.set_from_end(set).first().and_then(|row| text(row, place)).and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Pressure {
    /// What [`WAITING`] answered.
    pub(crate) fn waiting(sets: &ResultSets, set: usize) -> Pressure {
        Pressure { waiting: number(sets, set, 0) as u64, ..Pressure::default() }
    }

    /// With what [`LAG`] answered.
    pub(crate) fn lagging(self, sets: &ResultSets) -> Pressure {
        Pressure { lag: number(sets, 0, 0), lag_bytes: number(sets, 0, 1), ..self }
    }

    /// Whether a replica is too far behind.
    pub(super) fn lags(&self, limits: &Limits) -> bool {
        self.lag > limits.replica_lag.as_secs_f64() || self.lag_bytes > limits.replica_lag_bytes as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure = Pressure { waiting: 0, lag: 0.0, lag_bytes: 0.0 };

    fn pace() -> Pace {
        Pace::new(Batch { rows: 1_000, most_rows: 5_000, milliseconds: 500 }, None, None)
    }

    fn after(took_ms: u64, pressure: Pressure) -> (u64, Duration) {
        let mut pace = pace();
        let pause = pace.took(Duration::from_millis(took_ms), &pressure, &Limits::default());
        (pace.rows(), pause)
    }

    #[test]
    fn a_batch_grows_and_shrinks_towards_the_time_that_is_aimed_at() {
        assert_eq!(after(500, CALM), (1_000, Duration::ZERO));
        assert_eq!(after(400, CALM), (1_250, Duration::ZERO));
        assert_eq!(after(1, CALM), (2_000, Duration::ZERO), "never by more than twice at once");
        assert_eq!(after(10_000, CALM), (500, Duration::ZERO));
        let mut pace = pace();
        for _ in 0..10 {
            pace.took(Duration::from_millis(1), &CALM, &Limits::default());
        }
        assert_eq!(pace.rows(), 5_000, "and never above the most");
        for _ in 0..20 {
            pace.took(Duration::from_secs(60), &CALM, &Limits::default());
        }
        assert_eq!(pace.rows(), 1);
    }

    #[test]
    fn a_batch_shrinks_while_others_wait_or_lag_however_fast_it_is() {
        assert_eq!(after(100, Pressure { waiting: 1, ..CALM }), (500, Duration::from_millis(100)));
        assert_eq!(after(1, Pressure { lag: 60.0, ..CALM }), (500, Duration::ZERO));
        assert_eq!(after(1, Pressure { lag_bytes: 1e12, ..CALM }), (500, Duration::ZERO));
    }

    #[test]
    fn a_budget_bounds_a_batch_and_what_was_found_out_is_kept() {
        let batch = Batch { rows: 1_000, most_rows: 5_000, milliseconds: 500 };
        assert_eq!(Pace::new(batch, None, Some(300)).rows(), 300);
        assert_eq!(Pace::new(batch, Some(4_000), None).rows(), 4_000);
        assert_eq!(Pace::new(batch, Some(9_000), None).rows(), 5_000);
    }
}
