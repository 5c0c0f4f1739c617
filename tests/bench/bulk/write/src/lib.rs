//! As many rows as the benchmark says.

use plinth_block::prelude::*;

struct Write;

impl Migration for Write {
    fn apply(db: &Db) -> Result<Outcome> {
        let count: i64 = db.query_one("select count from bulk_rows", &[])?;
        let mut rows = db.write_bulk("bulk_target", &["id", "name", "cents", "at"])?;
        for id in 0..count {
            let cents = (id % 10 != 0).then_some(i32::try_from(id % 100_000)?);
            rows.row((id, "a name of twenty-four ch", cents, TimestampTz(id * 1_000_000)))?;
        }
        let written = rows.finish()?;
        Ok(Outcome::Done(Some(written.to_string())))
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Write);
