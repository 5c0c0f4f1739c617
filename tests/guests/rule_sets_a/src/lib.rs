//! Case 4: its own check passes, and no longer does once `rule_unsets_a` has run.

use plinth_block::prelude::*;

struct SetsA;

impl Rule for SetsA {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 1 where a is distinct from 1", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "a is 1 everywhere", "select id from t where a is distinct from 1", &[])?;
        Ok(checks)
    }
}

plinth_block::rule!(SetsA);
