//! Takes as much memory as hardly any block needs, and touches all of it.

use plinth_block::prelude::*;
use std::hint::black_box;

const BYTES: usize = 200 << 20;

struct Grows;

impl Migration for Grows {
    fn apply(_: &Db) -> Result<Outcome> {
        drop(black_box(vec![1_u8; BYTES]));
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Grows);
