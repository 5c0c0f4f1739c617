//! Case 6: the statement does not show that the table `other` is written; the database's counters do.

use plinth_block::prelude::*;

struct WritesByFunction;

impl Rule for WritesByFunction {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("select touch_other()", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(WritesByFunction);
