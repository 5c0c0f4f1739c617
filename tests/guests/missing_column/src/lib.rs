//! Case 2: it requires a column that only `provides_column` would make.

use plinth_block::prelude::*;

struct MissingColumn;

impl Migration for MissingColumn {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("select not_there from t", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(MissingColumn);
