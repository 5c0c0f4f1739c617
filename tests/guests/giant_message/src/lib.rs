//! An error message of 8 MiB: the report shows its beginning.

use plinth_block::prelude::*;

struct GiantMessage;

impl Migration for GiantMessage {
    fn apply(_: &Db) -> Result<Outcome> {
        Err(Error::message("x".repeat(8 << 20)))
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(GiantMessage);
