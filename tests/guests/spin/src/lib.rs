//! An endless loop: only the host's own clock ends it.

use plinth_block::prelude::*;
use std::hint::black_box;

struct Spin;

impl Migration for Spin {
    fn apply(_: &Db) -> Result<Outcome> {
        let mut round = 0_u64;
        loop {
            round = black_box(round.wrapping_add(1));
        }
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Spin);
