//! Asks for the rows of a table in the smallest and in the largest parts that can be asked for, past the SDK.

use plinth_block::{__private::migration::plinth::block::bulk::Cursor, SqlError, prelude::*};

struct Fetches;

impl Migration for Fetches {
    fn apply(db: &Db) -> Result<Outcome> {
        for most_bytes in [0, u32::MAX] {
            let cursor = Cursor::open("select id, text from large order by id", &[]).map_err(SqlError::from)?;
            let (mut parts, mut bytes, mut largest) = (0, 0, 0);
            loop {
                let part = cursor.read(most_bytes).map_err(SqlError::from)?;
                if part.is_empty() {
                    break;
                }
                parts += 1;
                bytes += part.len();
                largest = largest.max(part.len());
            }
            db.info(format!("{parts} {bytes} {largest}"));
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Fetches);
