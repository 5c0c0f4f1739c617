//! Recursion without end: each call needs the one inside, so that no loop comes out of it.

use plinth_block::prelude::*;
use std::hint::black_box;

struct Recursion;

fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX { depth } else { black_box(deeper(depth + 1)) }
}

impl Migration for Recursion {
    fn apply(db: &Db) -> Result<Outcome> {
        db.info(format!("{} calls deep", deeper(0)));
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Recursion);
