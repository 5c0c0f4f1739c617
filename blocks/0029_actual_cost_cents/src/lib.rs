//! The estimate of a run is made before it; what the vendors charged is known after it and needs a column of its own.

use plinth_block::prelude::*;

struct ActualCost;

/// Asked first, since `add column if not exists` locks the table even where the column is.
const MISSING: &str = "select not exists (select from pg_attribute
    where attrelid = to_regclass('test_run_log') and attname = 'actual_cost_cents' and not attisdropped)";

impl Migration for ActualCost {
    fn apply(db: &Db) -> Result<Outcome> {
        if db.query_one(MISSING, &[])? {
            db.send("alter table test_run_log add column if not exists actual_cost_cents integer not null default 0", &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.column(db, "test_run_log", "actual_cost_cents", "integer not null default 0")?;
        Ok(checks)
    }
}

plinth_block::migration!(ActualCost);

#[cfg(test)]
mod tests;
