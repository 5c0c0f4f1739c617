//! Case 17: `once` with another content, and a manifest that says `changed = "refuse"`.

use plinth_block::prelude::*;

struct OnceRefuse;

impl Migration for OnceRefuse {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = a + 10", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(OnceRefuse);
