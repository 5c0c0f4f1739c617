//! A rule as most are: it looks, and repairs what it finds. The benchmark writes the statements and the manifest into copies of
//! the compiled file.

use plinth_block::prelude::*;
use std::hint::black_box;

/// Filled up with spaces. Statics, so that each lies in the component as one piece.
static EXISTS: [u8; 160] = *include_bytes!("exists.sql");
static UPDATE: [u8; 160] = *include_bytes!("update.sql");
static DRIFTED: [u8; 160] = *include_bytes!("drifted.sql");

struct Copied;

impl Rule for Copied {
    fn reconcile(db: &Db) -> Result<Outcome> {
        if db.query_one(text(&EXISTS)?, &[])? {
            db.execute(text(&UPDATE)?, &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "nothing drifted", text(&DRIFTED)?, &[])?;
        Ok(checks)
    }
}

/// The compiler must not know the bytes: they are others in every copy.
fn text(bytes: &'static [u8; 160]) -> Result<&'static str> {
    let text = std::str::from_utf8(black_box(bytes)).map_err(|error| Error::message(error.to_string()))?;
    Ok(text.trim_end())
}

plinth_block::rule!(Copied);
