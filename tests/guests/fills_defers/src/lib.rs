//! A backfill that puts the rest off, in the middle of a batch.

use plinth_block::prelude::*;

struct Defers;

impl Backfill for Defers {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
        let from = after.unwrap_or(0);
        let last = from + batch.limit();
        db.execute("update large set n = n + 1 where id > $1 and id <= $2", &[&from, &last])?;
        if last > 20 {
            return Ok(Step::defer("twenty rows are enough for today"));
        }
        Ok(more(last))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "every row was counted", "select from large where n = 0", &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(Defers);
