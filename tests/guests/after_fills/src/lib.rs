//! A migration that must not see half of a backfill.

use plinth_block::prelude::*;

struct AfterFills;

impl Migration for AfterFills {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("alter table large add constraint counted check (n > 0)", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(AfterFills);
