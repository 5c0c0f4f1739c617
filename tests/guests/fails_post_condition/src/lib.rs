//! A post-condition that does not hold, with what was found instead.

use plinth_block::prelude::*;

struct FailsPostCondition;

impl Migration for FailsPostCondition {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "t has two rows", "select count(*) from t", 2_i64)?;
        Ok(checks)
    }
}

plinth_block::migration!(FailsPostCondition);
