//! A statement that fails in PostgreSQL and is ignored: the transaction is lost whatever the guest says.

use plinth_block::prelude::*;

struct FailsAfterSwallow;

impl Migration for FailsAfterSwallow {
    fn apply(db: &Db) -> Result<Outcome> {
        let insert = "insert into t (id) values (1)";
        db.execute(insert, &[])?;
        db.execute(insert, &[]).ok();
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(FailsAfterSwallow);
