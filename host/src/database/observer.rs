//! What a rehearsal looks at around each statement of a block: the planner's estimate before it, its time, the locks after it.
//!
//! All of it costs round trips and none of it is a boot's business, so a [`Session`](super::session::Session) has an observer
//! only in a rehearsal. The observer's own time is taken out of every time that it tells.

use super::{
    Connection,
    touched::{Touched, touched_query},
};
use crate::report::{Estimate, HeldLock, Lock, RehearsedStatement};
use plinth_values::{Raw, Value, parameters};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What was seen of one block.
pub(crate) struct Observer {
    ledger: String,
    started: Instant,
    /// What looking took, which is not the block's time.
    looking: Duration,
    /// Locks that the transaction held before the block began.
    before: Vec<Lock>,
    /// Locks that came since, each with the block's time at the start of the statement that took it.
    since: Vec<(Lock, Duration)>,
    statements: Vec<RehearsedStatement>,
    /// The statement that runs: the block's time at its start.
    running: Option<Duration>,
}

impl Observer {
    /// Begins to observe a block on a connection whose transaction holds some locks.
    pub(crate) fn new(ledger: &str, before: Vec<Lock>) -> Observer {
        Observer {
            ledger: ledger.to_owned(),
            started: Instant::now(),
            looking: Duration::ZERO,
            before,
            since: Vec::new(),
            statements: Vec::new(),
            running: None,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.looking)
    }

    /// Before a statement is sent.
    pub(crate) async fn before(&mut self, connection: &Arc<Connection>, number: u64, sql: &str, params: &[Value]) {
        let looked = Instant::now();
        let estimate = if is_planned(sql) { estimate(connection, sql, params).await } else { None };
        self.looking += looked.elapsed();
        let statement = RehearsedStatement { number, sql: sql.to_owned(), duration_ms: 0.0, rows: None, estimate };
        self.statements.push(statement);
        self.running = Some(self.now());
    }

    /// After a statement; without rows, it failed.
    pub(crate) async fn after(&mut self, connection: &Arc<Connection>, rows: Option<u64>) {
        let Some(began) = self.running.take() else { return };
        let took = self.now().saturating_sub(began);
        if let Some(statement) = self.statements.last_mut() {
            statement.duration_ms = milliseconds(took);
            statement.rows = rows;
        }
        let looked = Instant::now();
        // A transaction that failed cannot be asked, and its locks go with the block's savepoint.
        if rows.is_some()
            && let Ok(sets) = connection.send(&touched_query()).await
        {
            for lock in Touched::read(&sets, 0).locks(&self.ledger) {
                if !self.before.contains(&lock) && !self.since.iter().any(|(known, _)| *known == lock) {
                    self.since.push((lock, began));
                }
            }
        }
        self.looking += looked.elapsed();
    }

    /// What was seen, up to now.
    pub(crate) fn seen(mut self) -> Observed {
        let now = self.now();
        // A statement that was cut off by a deadline ran until now.
        if let (Some(began), Some(statement)) = (self.running, self.statements.last_mut()) {
            statement.duration_ms = milliseconds(now.saturating_sub(began));
        }
        let held = |(lock, since): (Lock, Duration)| HeldLock {
            object: lock.object,
            mode: lock.mode,
            held_ms: milliseconds(now.saturating_sub(since)),
        };
        let mut locks: Vec<HeldLock> = self.since.into_iter().map(held).collect();
        locks.sort_by(|one, other| (&one.object, &one.mode).cmp(&(&other.object, &other.mode)));
        Observed { statements: self.statements, locks, duration_ms: milliseconds(now) }
    }
}

/// What was seen of one block, at its end.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) statements: Vec<RehearsedStatement>,
    pub(crate) locks: Vec<HeldLock>,
    pub(crate) duration_ms: f64,
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Whether the planner has an estimate for it.
fn is_planned(sql: &str) -> bool {
    use squawk_syntax::{SourceFile, ast::Stmt};
    let first = SourceFile::parse(sql).tree().stmts().next();
    matches!(
        first,
        Some(
            Stmt::Select(_)
                | Stmt::CompoundSelect(_)
                | Stmt::ParenSelect(_)
                | Stmt::Insert(_)
                | Stmt::Update(_)
                | Stmt::Delete(_)
        )
    )
}

/// Asks the planner, behind a savepoint: a statement that it refuses is the block's failure and not ours, and what planning locks
/// is let go before the block itself takes it.
async fn estimate(connection: &Arc<Connection>, sql: &str, params: &[Value]) -> Option<Estimate> {
    connection.send("savepoint plinth_estimate").await.ok()?;
    let plan = explain(connection, sql, params).await;
    connection.send("rollback to savepoint plinth_estimate; release savepoint plinth_estimate").await.ok()?;
    read(&plan?)
}

async fn explain(connection: &Arc<Connection>, sql: &str, params: &[Value]) -> Option<Vec<u8>> {
    let client = connection.client();
    let prepared = client.prepare(&format!("explain (format json) {sql}")).await.ok()?;
    let params = parameters(params, prepared.params()).ok()?;
    let rows = client.query_raw(&prepared, &params).await.ok()?;
    let mut rows = std::pin::pin!(rows);
    let row = futures_util::StreamExt::next(&mut rows).await?.ok()?;
    let raw: Raw<'_> = row.try_get(0).ok()?;
    raw.0.map(<[u8]>::to_vec)
}

/// Rows and cost of a plan. What changes rows returns none: then the plan that feeds it says how many. A subquery or a WITH query
/// that is run first stands beside that one, and before it.
fn read(json: &[u8]) -> Option<Estimate> {
    let plans: serde_json::Value = serde_json::from_slice(json).ok()?;
    let plan = plans.get(0)?.get("Plan")?;
    let changes = plan.get("Node Type").and_then(serde_json::Value::as_str) == Some("ModifyTable");
    let feeds =
        |below: &&serde_json::Value| below.get("Parent Relationship").and_then(serde_json::Value::as_str) == Some("Outer");
    let below = plan.get("Plans").and_then(serde_json::Value::as_array).filter(|_| changes);
    let rows = below.and_then(|plans| plans.iter().find(feeds)).unwrap_or(plan).get("Plan Rows")?.as_f64()?;
    Some(Estimate { rows: rows as u64, cost: plan.get("Total Cost")?.as_f64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_of_the_rows_that_are_changed() {
        let json = br#"[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Total Cost": 12.5,
                         "Plans": [{"Node Type": "Aggregate", "Parent Relationship": "InitPlan", "Plan Rows": 1, "Total Cost": 3.0},
                                   {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 550, "Total Cost": 12.0}]}}]"#;
        assert_eq!(read(json), Some(Estimate { rows: 550, cost: 12.5 }));
        let json = br#"[{"Plan": {"Node Type": "Result", "Plan Rows": 1, "Total Cost": 0.01}}]"#;
        assert_eq!(read(json), Some(Estimate { rows: 1, cost: 0.01 }));
    }

    #[test]
    fn what_has_no_plan_is_not_explained() {
        for sql in ["select 1", "with a as (select 1) update t set x = 1", "insert into t values (1)", "delete from t"] {
            assert!(is_planned(sql), "{sql}");
        }
        for sql in ["create table t ()", "explain select 1", "truncate t", "do $$ begin end $$"] {
            assert!(!is_planned(sql), "{sql}");
        }
    }
}
