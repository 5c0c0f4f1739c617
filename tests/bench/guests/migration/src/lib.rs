//! A migration of one statement, with a post-condition of one query, as most are. The benchmark writes both, and the
//! manifest, into copies of the compiled file.

use plinth_block::prelude::*;
use std::hint::black_box;

/// Filled up with spaces. A static, so that it lies in the component as one piece.
static STATEMENT: [u8; 160] = *include_bytes!("statement.sql");
/// Finds a row if the migration is not there.
static CHECK: [u8; 160] = *include_bytes!("check.sql");

struct Copied;

impl Migration for Copied {
    fn apply(db: &Db) -> Result<Outcome> {
        db.send(text(&STATEMENT)?, &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "the migration is there", text(&CHECK)?, &[])?;
        Ok(checks)
    }
}

/// The compiler must not know the bytes: they are others in every copy.
fn text(bytes: &'static [u8; 160]) -> Result<&'static str> {
    let text = std::str::from_utf8(black_box(bytes)).map_err(|error| Error::message(error.to_string()))?;
    Ok(text.trim_end())
}

plinth_block::migration!(Copied);
