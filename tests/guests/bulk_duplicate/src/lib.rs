//! What the server has against rows in bulk is an error of the block, also where it never asks.

use plinth_block::prelude::*;

struct Duplicate;

impl Migration for Duplicate {
    fn apply(db: &Db) -> Result<Outcome> {
        let mut rows = db.write_bulk("t", &["id"])?;
        rows.row((1,))?;
        rows.row((1,))?;
        let error = rows.finish().err();
        // Swallowed: the host has seen it all the same.
        db.info(error.and_then(|error| error.sqlstate().map(str::to_owned)).unwrap_or_default());
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Duplicate);
