//! The last results of a suite are read at every run, and test_results is written all the time: the index is built
//! concurrently, which no transaction can hold. If that breaks off, the host drops the invalid index before it runs this again.

use plinth_block::prelude::*;

struct SuiteExecutedIndex;

impl Migration for SuiteExecutedIndex {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute(
            "create index concurrently if not exists test_results_suite_executed_idx on test_results (test_suite_id, executed_at desc)",
            &[],
        )?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.index(
            db,
            "test_results_suite_executed_idx",
            "CREATE INDEX test_results_suite_executed_idx ON public.test_results USING btree (test_suite_id, executed_at DESC)",
        )?;
        Ok(checks)
    }
}

plinth_block::migration!(SuiteExecutedIndex);

#[cfg(test)]
mod tests;
