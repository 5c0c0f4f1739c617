//! For kills: it adds, so that a second run would show, and undoes a sub-step.

use plinth_block::prelude::*;

struct CrashSecond;

impl Migration for CrashSecond {
    fn apply(db: &Db) -> Result<Outcome> {
        for number in 1..=3 {
            db.execute("insert into crash values ($1, $2)", &[&"crash_second", &number])?;
        }
        {
            let step = db.savepoint()?;
            db.execute("insert into crash values ($1, $2)", &[&"crash_second", &4])?;
            drop(step);
        }
        db.execute("update t set a = a + 1", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "there are three marks", "select count(*) from crash where block = 'crash_second'", 3_i64)?;
        Ok(checks)
    }
}

plinth_block::migration!(CrashSecond);
