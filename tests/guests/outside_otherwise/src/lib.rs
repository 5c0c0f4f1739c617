//! Case 18 without a transaction: nothing can be rolled back, and nothing is recorded as applied.

use plinth_block::prelude::*;

struct OutsideOtherwise;

impl Migration for OutsideOtherwise {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("create index concurrently if not exists t_b_idx on t (b)", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.relations(db, &["t_b_idx"])?;
        Ok(checks)
    }
}

plinth_block::migration!(OutsideOtherwise);
