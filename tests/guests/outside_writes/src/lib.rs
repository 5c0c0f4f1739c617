//! Outside a transaction only what cannot run inside one: the insert is refused.

use plinth_block::prelude::*;

struct OutsideWrites;

impl Migration for OutsideWrites {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(OutsideWrites);
