//! Case 17: `once` with another content, and a manifest that says `changed = "rerun"`.

use plinth_block::prelude::*;

struct OnceRerun;

impl Migration for OnceRerun {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = a + 10", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(OnceRerun);
