//! Case 6: it writes a column that its manifest does not name, and the statement says so.

use plinth_block::prelude::*;

struct WritesElsewhere;

impl Rule for WritesElsewhere {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("update t set a = 1, updated_at = now() where a is distinct from 1", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(WritesElsewhere);
