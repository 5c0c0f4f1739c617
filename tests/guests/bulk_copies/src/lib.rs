//! Reads every column of every row in bulk as a value and writes it in bulk.

use plinth_block::{prelude::*, types::Value};

struct Copies;

impl Migration for Copies {
    fn apply(db: &Db) -> Result<Outcome> {
        let columns: Vec<String> = db.query(
            "select attname::text from pg_attribute where attrelid = 'target'::regclass and attnum > 0 order by attnum",
            &[],
        )?;
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut rows = db.read_bulk(&format!("select {} from source order by id", columns.join(", ")), &[])?;
        let mut target = db.write_bulk("target", &columns)?;
        while let Some(row) = rows.next()? {
            let values = (0..row.len()).map(|place| row.get::<Value>(place)).collect::<Result<Vec<_>, _>>()?;
            target.row(values.as_slice())?;
        }
        let written = target.finish()?;
        Ok(Outcome::Done(Some(format!("{written} rows"))))
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "the copy is complete", "select id from source except select id from target", &[])?;
        Ok(checks)
    }
}

plinth_block::migration!(Copies);
