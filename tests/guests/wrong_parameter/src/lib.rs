//! Case 13: `$2` is an integer, and a text comes.

use plinth_block::prelude::*;

struct WrongParameter;

impl Migration for WrongParameter {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id, a) values ($1, $2)", &[&1, &"seven"])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(WrongParameter);
