//! Case 19: a minute, with a budget of a second.

use plinth_block::prelude::*;

struct TakesLong;

impl Migration for TakesLong {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 1 where id = 101", &[])?;
        db.execute("select pg_sleep(60)", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(TakesLong);
