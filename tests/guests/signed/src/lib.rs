//! A block of a team, to be signed by its key or another one.

use plinth_block::prelude::*;

struct Signed;

impl Migration for Signed {
    fn apply(_: &Db) -> Result<Outcome> {
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Signed);
