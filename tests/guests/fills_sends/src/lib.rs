//! A backfill whose batch ends with a statement that it does not wait for.

use plinth_block::prelude::*;

struct FillsSends;

impl Backfill for FillsSends {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
        let after = after.unwrap_or(0);
        let last: Option<i64> = db.query_one(
            "select max(id) from (select id from large where id > $1 order by id limit $2) as batch",
            &[&after, &batch.limit()],
        )?;
        let Some(last) = last else { return Ok(Step::done()) };
        db.send("update large set n = n + 1 where id > $1 and id <= $2", &[&after, &last])?;
        Ok(more(last))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "every row was counted", "select from large where n = 0", &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(FillsSends);
