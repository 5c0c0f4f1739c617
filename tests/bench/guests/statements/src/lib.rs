//! Statements one after the other, a line each with its parameters after tabs: a number, or a text behind a quote. The benchmark
//! writes them into the compiled file and sends the same ones natively.

use plinth_block::prelude::*;
use std::hint::black_box;

/// Filled up with spaces. A static, so that it lies in the component as one piece.
static STATEMENTS: [u8; 4096] = *include_bytes!("statements.txt");

struct Chosen;

impl Migration for Chosen {
    fn apply(db: &Db) -> Result<Outcome> {
        // The compiler must not know the bytes: they are others in every copy.
        let text = std::str::from_utf8(black_box(&STATEMENTS)).map_err(|error| Error::message(error.to_string()))?;
        for line in text.trim_end().lines() {
            let mut fields = line.split('\t');
            let statement = fields.next().unwrap_or_default();
            let params = fields
                .map(|field| -> Result<Box<dyn ToValue>> {
                    Ok(match field.strip_prefix('\'') {
                        Some(text) => Box::new(text.to_owned()),
                        None => Box::new(field.parse::<i64>()?),
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            db.send(statement, &params.iter().map(|param| &**param).collect::<Vec<_>>())?;
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Chosen);
