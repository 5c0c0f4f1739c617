//! Case 13: an array is one parameter.

use plinth_block::prelude::*;

struct ArrayParameter;

impl Migration for ArrayParameter {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 1 where id = any($1)", &[&vec![1, 2, 3]])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(ArrayParameter);
