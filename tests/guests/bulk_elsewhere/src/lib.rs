//! The policy holds for COPY as for statements.

use plinth_block::prelude::*;

struct Elsewhere;

impl Migration for Elsewhere {
    fn apply(db: &Db) -> Result<Outcome> {
        let mut rows = db.write_bulk("t", &["id", "a"])?;
        rows.row((1, 2))?;
        rows.finish()?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Elsewhere);
