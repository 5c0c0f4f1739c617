//! Case 11: it writes a row and then says not now: the row does not stay, the third time is a failure.

use plinth_block::prelude::*;

struct Defers;

impl Rule for Defers {
    fn reconcile(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        defer("not before Monday")
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(Defers);
