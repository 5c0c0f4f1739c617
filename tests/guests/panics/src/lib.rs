//! A panic after a write: the message reaches the report, the row does not stay.
#![expect(clippy::panic, reason = "it is what the guest shows")]

use plinth_block::prelude::*;

struct Panics;

impl Migration for Panics {
    fn apply(db: &Db) -> Result<Outcome> {
        db.execute("insert into t (id) values (1)", &[])?;
        panic!("the widget is missing")
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Panics);
