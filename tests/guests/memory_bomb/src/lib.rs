//! Allocates a mebibyte at a time and keeps all of it.

use plinth_block::prelude::*;
use std::hint::black_box;

struct MemoryBomb;

impl Migration for MemoryBomb {
    fn apply(_: &Db) -> Result<Outcome> {
        let mut kept = Vec::new();
        loop {
            kept.push(black_box(vec![1_u8; 1 << 20]));
        }
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(MemoryBomb);
