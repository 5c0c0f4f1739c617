//! A backfill that would go on for ever: it returns the cursor that it got and changes nothing.

use plinth_block::prelude::*;

struct Stuck;

impl Backfill for Stuck {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, _: &Batch) -> Result<Step<i64>> {
        let id = after.unwrap_or(1);
        if after.is_none() {
            db.execute("update large set n = 1 where id = $1", &[&id])?;
        }
        Ok(more(id))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "every row was counted", "select from large where n = 0", &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(Stuck);
