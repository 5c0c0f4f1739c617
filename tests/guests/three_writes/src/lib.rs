//! Case 7: a kill between any two of its statements leaves three rows or none.

use plinth_block::prelude::*;

struct ThreeWrites;

impl Migration for ThreeWrites {
    fn apply(db: &Db) -> Result<Outcome> {
        for id in 1..=3 {
            db.execute("insert into t (id) values ($1)", &[&id])?;
            db.execute("select pg_sleep(0.3)", &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "t has three rows", "select count(*) from t", 3_i64)?;
        Ok(checks)
    }
}

plinth_block::migration!(ThreeWrites);
