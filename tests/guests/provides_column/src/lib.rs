//! Case 2: the provider, though its name sorts after the block that requires the column.

use plinth_block::prelude::*;

struct ProvidesColumn;

impl Migration for ProvidesColumn {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("alter table t add column if not exists not_there int", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.column(db, "t", "not_there", "integer")?;
        Ok(checks)
    }
}

plinth_block::migration!(ProvidesColumn);
