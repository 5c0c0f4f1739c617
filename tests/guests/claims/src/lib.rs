//! Case 14: what a block says about its rows is a text, what the database counted is the effect.

use plinth_block::prelude::*;

struct Claims;

impl Migration for Claims {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 0 where id in (1, 2)", &[])?;
        Ok(Outcome::Done(Some("5 rows updated".to_owned())))
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Claims);
