// Shared by `asks` and `asks_after`: the question comes out of a table.

use plinth_block::prelude::*;

struct Asks;

impl Rule for Asks {
    fn reconcile(db: &Db) -> Result<Outcome> {
        let question: String = db.query_one(&format!("select sql from questions where block = '{ID}'"), &[])?;
        let answers: Vec<String> = db.query(&question, &[])?;
        db.info(format!("heard {}", answers.join(", ")));
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.value(db, "one is one", "select 1 = 1", true)?;
        Ok(checks)
    }
}

plinth_block::rule!(Asks);
