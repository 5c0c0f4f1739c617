//! An endless loop between host calls: no single call is long, and the guest hardly computes.

use plinth_block::prelude::*;

struct SpinBetween;

impl Migration for SpinBetween {
    fn apply(db: &Db) -> Result<Outcome> {
        loop {
            db.execute("select 1", &[])?;
        }
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(SpinBetween);
