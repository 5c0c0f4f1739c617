//! For kills: a rule that has work after the migrations.

use plinth_block::prelude::*;

struct CrashRule;

impl Rule for CrashRule {
    fn reconcile(db: &Db) -> Result<Outcome> {
        if db.query_one("select exists (select from t where b is distinct from a)", &[])? {
            db.execute("update t set b = a where b is distinct from a", &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "b is a everywhere", "select id from t where b is distinct from a", &[])?;
        Ok(checks)
    }
}

plinth_block::rule!(CrashRule);
