//! COMMIT as a statement: refused, and the guest passes the refusal on.

use plinth_block::prelude::*;

struct Commits;

impl Migration for Commits {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        db.execute("commit", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Commits);
