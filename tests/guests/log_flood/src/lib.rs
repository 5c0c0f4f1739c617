//! Ten thousand lines; every fifth tries to steer the terminal: escapes, a bell, a carriage return, C1, NUL, reversed text.

use plinth_block::prelude::*;

struct LogFlood;

impl Migration for LogFlood {
    fn apply(db: &Db) -> Result<Outcome> {
        for line in 1..=10_000 {
            if line % 5 == 0 {
                db.warn(format!("line {line} \u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[31mred\rover\u{8}\u{9b}1A\0\u{202e}desrever"));
            } else {
                db.info(format!("line {line}"));
            }
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(LogFlood);
