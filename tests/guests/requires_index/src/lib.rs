//! A rule whose requirements are looked at in every boot.

use plinth_block::prelude::*;

struct RequiresIndex;

impl Rule for RequiresIndex {
    fn reconcile(_: &Db) -> Result<Outcome> {
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::rule!(RequiresIndex);
