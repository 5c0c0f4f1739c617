//! A statement that takes a minute: the deadline is the host's, and the server stops as well.

use plinth_block::prelude::*;

struct Slow;

impl Migration for Slow {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("select pg_sleep(60)", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Slow);
