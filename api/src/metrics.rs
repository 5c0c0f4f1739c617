//! Numbers for Prometheus.

use crate::{scheduler::Ticked, suites::Route};
use plinth::{Outcome, Report};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::sync::atomic::AtomicU64;

/// A gauge for seconds and shares.
type Fraction = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Block {
    block: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Backfill {
    block: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rows {
    block: String,
    table: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Inserted {
    route: String,
    explicit: String,
}

/// All numbers of the service.
pub struct Metrics {
    registry: Registry,
    boots: Family<State, Counter>,
    boot_seconds: Fraction,
    block_seconds: Family<Block, Fraction>,
    block_statements: Family<Block, Gauge>,
    block_rows: Family<Rows, Counter>,
    deferred: Family<Block, Gauge>,
    backfill_batches: Family<Block, Gauge>,
    backfill_rows: Family<Block, Gauge>,
    backfill_progress: Family<Block, Fraction>,
    backfills: Family<Backfill, Counter>,
    overdue: Gauge,
    paid_skipped: Gauge,
    dispatched: Counter,
    cost: Counter,
    inserted: Family<Inserted, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            boots: Family::default(),
            boot_seconds: Fraction::default(),
            block_seconds: Family::default(),
            block_statements: Family::default(),
            block_rows: Family::default(),
            deferred: Family::default(),
            backfill_batches: Family::default(),
            backfill_rows: Family::default(),
            backfill_progress: Family::default(),
            backfills: Family::default(),
            overdue: Gauge::default(),
            paid_skipped: Gauge::default(),
            dispatched: Counter::default(),
            cost: Counter::default(),
            inserted: Family::default(),
        };
        let all = &mut metrics.registry;
        all.register("plinth_boots", "Boots of this process, by how they ended", metrics.boots.clone());
        let seconds = "How long the last boot took";
        all.register_with_unit("plinth_boot_duration", seconds, Unit::Seconds, metrics.boot_seconds.clone());
        let seconds = "How long each block took in the last boot that ran it";
        all.register_with_unit("plinth_block_duration", seconds, Unit::Seconds, metrics.block_seconds.clone());
        all.register(
            "plinth_block_statements",
            "Statements of each block in the last boot that ran it",
            metrics.block_statements.clone(),
        );
        all.register(
            "plinth_block_rows",
            "Rows that each block changed in this process's boots: for a rule, drift",
            metrics.block_rows.clone(),
        );
        all.register("plinth_block_deferred", "1 if a block put its work off in the last boot", metrics.deferred.clone());
        all.register("plinth_backfill_batches", "Batches of each backfill, over all boots", metrics.backfill_batches.clone());
        all.register("plinth_backfill_rows", "Rows that they changed", metrics.backfill_rows.clone());
        all.register(
            "plinth_backfill_progress",
            "How far each backfill has come, 0 to 1, if it counts",
            metrics.backfill_progress.clone(),
        );
        all.register("plinth_backfills", "Backfills behind this process's boots, by how they ended", metrics.backfills.clone());
        all.register("api_overdue_capabilities", "Capabilities that are overdue for a test", metrics.overdue.clone());
        all.register(
            "api_paid_skipped_capabilities",
            "Capabilities with a suite that the schedule passes over",
            metrics.paid_skipped.clone(),
        );
        all.register("api_dispatched_suites", "Suites that the scheduler ran", metrics.dispatched.clone());
        all.register("api_dispatched_cost_cents", "What they cost by the bill", metrics.cost.clone());
        all.register("api_inserted_suites", "Suites that were made, by route", metrics.inserted.clone());
        metrics
    }
}

impl Metrics {
    /// Takes down a boot.
    pub fn boot(&self, report: &Report) {
        self.boots.get_or_create(&State { state: report.boot.state.as_str().to_owned() }).inc();
        self.boot_seconds.set(report.boot.duration_ms / 1e3);
        for block in &report.blocks {
            if matches!(block.outcome, Outcome::Skipped | Outcome::Joined | Outcome::Retired) {
                continue;
            }
            let label = Block { block: block.id.clone() };
            self.block_seconds.get_or_create(&label).set(block.duration_ms / 1e3);
            self.block_statements.get_or_create(&label).set(i64::try_from(block.statements).unwrap_or(i64::MAX));
            self.deferred.get_or_create(&label).set(i64::from(block.outcome == Outcome::Deferred));
            for (table, rows) in &block.rows {
                self.block_rows.get_or_create(&Rows { block: block.id.clone(), table: table.clone() }).inc_by(rows.total());
            }
        }
    }

    /// Takes down a batch of a backfill: how many there were with it, the rows of all of them, and how far it has come.
    pub fn batch(&self, block: &str, number: u64, rows: u64, far: Option<(u64, u64)>) {
        let label = Block { block: block.to_owned() };
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.backfill_batches.get_or_create(&label).set(whole(number));
        self.backfill_rows.get_or_create(&label).set(whole(rows));
        if let Some((done, total)) = far {
            self.backfill_progress.get_or_create(&label).set(done as f64 / total.max(1) as f64);
        }
    }

    /// Takes down how a backfill ended.
    pub fn backfilled(&self, block: String, outcome: Outcome) {
        self.backfills.get_or_create(&Backfill { block, outcome: outcome.as_str().to_owned() }).inc();
    }

    /// Takes down a look of the scheduler.
    pub fn ticked(&self, ticked: &Ticked) {
        self.dispatched.inc_by(u64::try_from(ticked.suites).unwrap_or_default());
        self.cost.inc_by(u64::try_from(ticked.cost_cents).unwrap_or_default());
    }

    /// Takes down what is overdue and what is passed over.
    pub fn counted(&self, overdue: i64, paid_skipped: i64) {
        self.overdue.set(overdue);
        self.paid_skipped.set(paid_skipped);
    }

    /// Takes down suites that a route made.
    pub fn inserted(&self, route: Route, explicit: bool, count: u64) {
        self.inserted.get_or_create(&Inserted { route: route.to_string(), explicit: explicit.to_string() }).inc_by(count);
    }

    /// All of it as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut out, &self.registry);
        out
    }
}
