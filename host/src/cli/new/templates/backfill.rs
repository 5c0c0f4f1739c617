//! Why the rows are worked on, for whoever finds the block in a year.

use plinth_block::prelude::*;

struct EmailKeys;

impl Backfill for EmailKeys {
    type Cursor = i64;

    fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
        let last: Option<i64> = db.query_one(
            "with batch as (select id from customers where id > $1 order by id limit $2),
                  changed as (update customers c set email_key = lower(email) from batch where c.id = batch.id)
             select max(id) from batch",
            &[&after.unwrap_or(0), &batch.limit()],
        )?;
        Ok(last.map_or_else(Step::done, more))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        let missing = "select id from customers where email_key is distinct from lower(email)";
        checks.no_rows(db, "every customer has the key of the address", missing, &[])?;
        Ok(checks)
    }
}

plinth_block::backfill!(EmailKeys);

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_test::updated;

    #[test]
    fn every_customer_gets_a_key_once() {
        let database = plinth_test::database!(); // fixtures/*.sql have run in it
        let ran = database.backfill::<EmailKeys>(1000);
        ran.expect_rows("customers", updated(2500));
        assert_eq!(ran.statements.len(), 4, "three batches, and one that finds nothing");
    }
}
