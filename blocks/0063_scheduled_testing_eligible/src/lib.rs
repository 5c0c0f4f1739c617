//! The schedule ran every suite and the bill followed. From here on a suite is run only if it says so: none by default, those
//! that cost nothing to begin with. A cost that is unknown (NULL) is not free.

use plinth_block::prelude::*;

struct ScheduledTestingEligible;

/// Asked first, since `add column if not exists` locks the table even where the column is.
const MISSING: &str = "select not exists (select from pg_attribute
    where attrelid = to_regclass('test_suites') and attname = 'scheduled_testing_eligible' and not attisdropped)";

impl Migration for ScheduledTestingEligible {
    fn apply(db: &Db) -> Result<Outcome> {
        if db.query_one(MISSING, &[])? {
            db.send(
                "alter table test_suites add column if not exists scheduled_testing_eligible boolean not null default false",
                &[],
            )?;
        }
        db.send(
            "update test_suites set scheduled_testing_eligible = true where external_cost_cents = 0 and not scheduled_testing_eligible",
            &[],
        )?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.column(db, "test_suites", "scheduled_testing_eligible", "boolean not null default false")?;
        let (eligible, free): (i64, i64) = db.query_one(
            "select count(*) filter (where scheduled_testing_eligible), count(*) filter (where external_cost_cents = 0) from test_suites",
            &[],
        )?;
        checks.equal("as many suites are eligible as are free", eligible, free);
        Ok(checks)
    }
}

plinth_block::migration!(ScheduledTestingEligible);

#[cfg(test)]
mod tests;
