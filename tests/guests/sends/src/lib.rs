//! Sends what the table `attack` holds, statement by statement: each attack in SQL is a row there. The write before them is to be
//! undone with them.

use plinth_block::prelude::*;

struct Sends;

impl Migration for Sends {
    fn apply(db: &Db) -> Result<Outcome> {
        let statements: Vec<(String, bool)> = db.query("select statement, reads from public.attack order by n", &[])?;
        db.execute("insert into t (id) values (1)", &[])?;
        for (statement, reads) in statements {
            if reads {
                db.rows(&statement, &[])?;
            } else {
                db.execute(&statement, &[])?;
            }
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Sends);
