//! A cursor sees the database as it was, and everything else goes on meanwhile.

use plinth_block::prelude::*;

struct Interleaved;

impl Migration for Interleaved {
    fn apply(db: &Db) -> Result<Outcome> {
        let mut rows = db.read_bulk("select id, n from large where id <= $1 order by id", &[&200_000_i64])?;
        let mut doubled = db.write_bulk("doubled", &["id", "n"])?;
        // Given up while its second part is on the way.
        let mut given_up = db.read_bulk("select id from large order by id desc", &[])?;
        let last = given_up.next()?.map(|row| row.get::<i64>(0)).transpose()?;
        drop(given_up);
        let most: i64 = db.query_one("select max(id) from large", &[])?;
        ensure!(last == Some(200_000) && most == 200_000, "{last:?} was read, {most} is the last one");
        let mut read = 0_i64;
        while let Some(row) = rows.next()? {
            let (id, n): (i64, i32) = (row.get(0)?, row.get(1)?);
            ensure!(n == 0, "row {id} was {n} when the cursor was opened, which this block changed afterwards");
            if id == 1 {
                db.execute("update large set n = 7", &[])?;
            }
            if id == 100_000 {
                let step = db.savepoint()?;
                db.execute("update large set n = 8 where id = 1", &[])?;
                drop(step);
            }
            doubled.row((id * 2, n))?;
            read += 1;
        }
        let wrong = doubled.row(("not a number", 1)).err().map(|error| error.to_string());
        ensure!(wrong.as_deref() == Some("column id: a text was given, the column is int8"), "{wrong:?}");
        let written = doubled.finish()?;
        ensure!(written == 200_000 && read == 200_000, "{read} read, {written} written");
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "all rows are there", "select count(distinct id) from doubled", 200_000_i64)?;
        checks.no_rows(db, "the sub-step is undone", "select id from large where n <> 7", &[])?;
        Ok(checks)
    }
}

plinth_block::migration!(Interleaved);
