//! Does what the table `program` says, row by row: how statements are sent is then a matter of data. A sub-step ends with its `close`, or
//! with its first failure, and the block goes on behind it.

use plinth_block::prelude::*;
use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
};

/// What it asks when it looks at its post-conditions, and how many rows of columns `a` and `b` that is to bring; without, it is one that is true.
static LOOKS: Mutex<Vec<(Option<usize>, String)>> = Mutex::new(Vec::new());

struct Follows;

type Step = (String, String);

/// Runs steps up to the end of a sub-step, and returns those behind it.
#[expect(clippy::panic, reason = "it is a step like any other")]
fn follow<'a>(db: &Db, mut steps: &'a [Step]) -> Result<&'a [Step]> {
    while let Some(((what, statement), rest)) = steps.split_first() {
        steps = rest;
        match what.as_str() {
            "send" => db.send(statement, &[])?,
            "send with a parameter" => db.send(statement, &[&7_i32])?,
            "execute and ignore" => drop(db.execute(statement, &[])),
            "execute" => drop(db.execute(statement, &[])?),
            "query" => drop(db.rows(statement, &[])?),
            "open" => {
                let step = db.savepoint()?;
                match follow(db, steps).and_then(|rest| Ok(step.release().map(|()| rest)?)) {
                    Ok(rest) => steps = rest,
                    Err(error) => {
                        db.info(format!("undone: {error}"));
                        steps = behind(steps);
                    }
                }
            }
            "close" => return Ok(steps),
            "look" | "look for none" | "look for one" => {
                let rows = match what.as_str() {
                    "look for none" => Some(0),
                    "look for one" => Some(1),
                    _ => None,
                };
                LOOKS.lock().unwrap_or_else(PoisonError::into_inner).push((rows, statement.clone()));
            }
            "compute" => while black_box(true) {},
            "panic" => panic!("as the program says"),
            "give up" => return Err(Error::message("as the program says")),
            other => return Err(Error::message(format!("unknown: {other}"))),
        }
    }
    Ok(steps)
}

/// What comes after the end of the sub-step that these begin in.
fn behind(mut steps: &[Step]) -> &[Step] {
    let mut depth = 1_u32;
    while let Some(((what, _), rest)) = steps.split_first() {
        steps = rest;
        match what.as_str() {
            "open" => depth += 1,
            "close" if depth == 1 => break,
            "close" => depth -= 1,
            _ => {}
        }
    }
    steps
}

impl Migration for Follows {
    fn apply(db: &Db) -> Result<Outcome> {
        let steps: Vec<Step> = db.query("select what, statement from program order by n", &[])?;
        match steps.split_last() {
            Some(((what, _), steps)) if what == "defer" => {
                follow(db, steps)?;
                defer("as the program says")
            }
            _ => {
                follow(db, &steps)?;
                done()
            }
        }
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        for (expected, look) in LOOKS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Some(expected) = expected else {
                checks.value(db, look, look, true)?;
                continue;
            };
            let rows = db.rows(look, &[])?;
            checks.equal(look, (rows.len(), rows.columns().collect()), (*expected, vec!["a", "b"]));
        }
        Ok(checks)
    }
}

plinth_block::migration!(Follows);
