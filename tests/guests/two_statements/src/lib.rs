//! Two statements in one text, the second a COMMIT.

use plinth_block::prelude::*;

struct TwoStatements;

impl Migration for TwoStatements {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        db.execute("select 1; commit", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(TwoStatements);
