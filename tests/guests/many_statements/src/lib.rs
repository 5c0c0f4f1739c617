//! Case 19: a statement for each of ten rows, with a budget of five.

use plinth_block::prelude::*;

struct ManyStatements;

impl Migration for ManyStatements {
    fn apply(db: &Db) -> Result<Outcome> {
        for id in 101..=110 {
            db.execute("update t set a = 1 where id = $1", &[&id])?;
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(ManyStatements);
