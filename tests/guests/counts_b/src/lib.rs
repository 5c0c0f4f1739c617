//! It writes what `copies_b` has read already.

use plinth_block::prelude::*;

struct CountsB;

impl Rule for CountsB {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set b = 7 where b is distinct from 7", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(CountsB);
