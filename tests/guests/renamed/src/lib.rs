//! Case 17: `once` after it was renamed: its history moves, its work is not done again.

use plinth_block::prelude::*;

struct Renamed;

impl Migration for Renamed {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = a + 1", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Renamed);
