//! Every field of every row is looked at.

use plinth_block::prelude::*;

struct Read;

impl Migration for Read {
    fn apply(db: &Db) -> Result<Outcome> {
        let mut rows = db.read_bulk("select id, name, cents, at from bulk_source", &[])?;
        let (mut ids, mut names, mut cents, mut latest) = (0_i64, 0_usize, 0_i64, i64::MIN);
        while let Some(row) = rows.next()? {
            ids = ids.wrapping_add(row.get::<i64>(0)?);
            names += row.get::<&str>(1)?.len();
            cents += i64::from(row.get::<Option<i32>>(2)?.unwrap_or(0));
            latest = latest.max(row.get::<TimestampTz>(3)?.0);
        }
        Ok(Outcome::Done(Some(format!("{ids} {names} {cents} {latest}"))))
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Read);
