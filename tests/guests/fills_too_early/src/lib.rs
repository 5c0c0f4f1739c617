//! Case 14: a backfill that believes after one batch that nothing is left.

use plinth_block::prelude::*;

struct TooEarly;

impl Backfill for TooEarly {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
        let last: Option<i64> = db.query_one(
            "with batch as (select id from large where id > $1 order by id limit $2),
                  changed as (update large l set n = n + 1 from batch where l.id = batch.id)
             select max(id) from batch",
            &[&after.unwrap_or(0), &batch.limit()],
        )?;
        // As the driver's field that was never set.
        let rows_left: Option<u64> = None;
        Ok(match (last, rows_left) {
            (Some(last), Some(left)) if left > 0 => more(last),
            _ => Step::done(),
        })
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "every row was counted", "select from large where n = 0", &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(TooEarly);
