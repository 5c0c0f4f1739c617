//! Case 16: work that shows how often it ran.

use plinth_block::prelude::*;

struct Once;

impl Migration for Once {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = a + 1", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Once);
