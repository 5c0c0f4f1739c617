//! It reads t.b and does not say so, so that it runs before `counts_b`, which writes it.

use plinth_block::prelude::*;

struct CopiesB;

impl Rule for CopiesB {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = b where a is distinct from b", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(CopiesB);
