//! Case 20: what the planner expects is of the rows that change, not of a subquery that it runs first.

use plinth_block::prelude::*;

struct Estimates;

impl Migration for Estimates {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set b = (select min(id) from t)", &[])?;
        db.execute("with one as materialized (select 7 as n) update t set b = (select n from one)", &[])?;
        db.execute("update t set b = $1 where id > $2", &[&8_i32, &0_i32])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Estimates);
