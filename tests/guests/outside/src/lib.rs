//! A migration outside a transaction, safe to repeat.

use plinth_block::prelude::*;

struct Outside;

impl Migration for Outside {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("create index concurrently if not exists t_a_idx on t (a)", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.index(db, "t_a_idx", "CREATE INDEX t_a_idx ON public.t USING btree (a)")?;
        Ok(checks)
    }
}

plinth_block::migration!(Outside);
