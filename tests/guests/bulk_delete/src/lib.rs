//! Case 19: a delete that is harmless on the author's data and not in production. Its budget stops it before COMMIT.

use plinth_block::prelude::*;

struct BulkDelete;

impl Migration for BulkDelete {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("delete from t", &[])?;
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(BulkDelete);
