//! A migration that is pending while somebody holds the table.

use plinth_block::prelude::*;

struct RequiresDefault;

impl Migration for RequiresDefault {
    fn apply(_: &Db) -> Result<Outcome> {
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(RequiresDefault);
