//! COMMIT as a statement: refused, and the guest says that all went well.

use plinth_block::prelude::*;

struct CommitsQuietly;

impl Migration for CommitsQuietly {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        db.execute("commit", &[]).ok();
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(CommitsQuietly);
