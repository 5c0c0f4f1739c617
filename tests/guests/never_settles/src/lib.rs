//! A rule that does not converge: the second pass of the boot finds it.

use plinth_block::prelude::*;

struct NeverSettles;

impl Rule for NeverSettles {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set b = b + 1", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(NeverSettles);
