//! It waits while the block that it needs puts its work off.

use plinth_block::prelude::*;

struct NeedsSoft;

impl Migration for NeedsSoft {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("comment on table soft is 'here'", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(NeedsSoft);
