//! Case 17: the id of `once` with other code: a duplicate beside it, a changed component in its place.

use plinth_block::prelude::*;

struct OnceChanged;

impl Migration for OnceChanged {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = a + 10", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(OnceChanged);
