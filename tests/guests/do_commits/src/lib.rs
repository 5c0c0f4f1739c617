//! COMMIT where no parser looks, inside a DO block's text: the server refuses it within a transaction.

use plinth_block::prelude::*;

struct DoCommits;

impl Migration for DoCommits {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("do $$ begin insert into t (id) values (1); commit; end $$", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(DoCommits);
