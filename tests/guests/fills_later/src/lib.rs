//! A backfill that counts how often it worked on each row. The sequence `begun` counts its batches, those that were rolled back
//! included, since a sequence is never rolled back.

use plinth_block::prelude::*;

struct Fills;

impl Backfill for Fills {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
        let _: i64 = db.query_one("select nextval('begun')", &[])?;
        let last: Option<i64> = db.query_one(
            "with batch as (select id from large where id > $1 order by id limit $2),
                  changed as (update large l set n = n + 1 from batch where l.id = batch.id)
             select max(id) from batch",
            &[&after.unwrap_or(0), &batch.limit()],
        )?;
        let Some(last) = last else { return Ok(Step::done()) };
        let total: i64 = db.query_one("select max(id) from large", &[])?;
        Ok(more_of(last, u64::try_from(last)?, u64::try_from(total)?))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "every row was counted", "select from large where n = 0", &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(Fills);
