//! Case 11: its failure is put off once, and then is one.

use plinth_block::prelude::*;

struct FailsSoftly;

impl Migration for FailsSoftly {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("create table soft (id int references nowhere (id))", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(FailsSoftly);
