//! Case 4: undoes `rule_sets_a`, after which it sorts; its own check passes.

use plinth_block::prelude::*;

struct UnsetsA;

impl Rule for UnsetsA {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 2 where a is distinct from 2", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "a is 2 everywhere", "select id from t where a is distinct from 2", &[])?;
        Ok(checks)
    }
}

plinth_block::rule!(UnsetsA);
