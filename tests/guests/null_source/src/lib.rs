//! Case 15: `t.b` is not null, its source `t.a` may be.

use plinth_block::prelude::*;

struct NullSource;

impl Rule for NullSource {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set b = a where b is distinct from a", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(NullSource);
