//! For kills: none of its statements can run twice without leaving a trace.

use plinth_block::prelude::*;

struct CrashFirst;

impl Migration for CrashFirst {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("create table crash (block text not null, number int not null)", &[])?;
        db.execute("insert into crash values ($1, $2)", &[&"crash_first", &1])?;
        db.execute("alter table t add column c int", &[])?;
        db.execute("insert into crash values ($1, $2)", &[&"crash_first", &2])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "there are two marks", "select count(*) from crash where block = 'crash_first'", 2_i64)?;
        Ok(checks)
    }
}

plinth_block::migration!(CrashFirst);
