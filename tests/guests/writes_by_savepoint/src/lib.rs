//! Rows of a sub-step that was rolled back are no effect: one row is inserted.

use plinth_block::prelude::*;

struct WritesBySavepoint;

impl Migration for WritesBySavepoint {
    fn apply(db: &Db) -> Result<Outcome> {
        let undone = db.savepoint()?;
        db.execute("insert into t (id) values (1), (2), (3)", &[])?;
        drop(undone);
        db.execute("insert into t (id) values (1)", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "t has one row", "select count(*) from t", 1_i64)?;
        Ok(checks)
    }
}

plinth_block::migration!(WritesBySavepoint);
