//! The compiled guests, and copies of them that carry what the benchmark wrote into them.

use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// What a guest carries in a place, byte for byte.
pub struct Place(&'static [u8]);

/// A component for one statement, and its places.
pub const MIGRATION: &str = "migration";
pub const MIGRATION_MANIFEST: Place = Place(include_bytes!("../guests/migration/block.toml"));
pub const MIGRATION_STATEMENT: Place = Place(include_bytes!("../guests/migration/src/statement.sql"));
pub const MIGRATION_CHECK: Place = Place(include_bytes!("../guests/migration/src/check.sql"));

/// A component for many statements.
pub const STATEMENTS: &str = "statements";
pub const STATEMENTS_MANIFEST: Place = Place(include_bytes!("../guests/statements/block.toml"));
pub const STATEMENTS_TEXT: Place = Place(include_bytes!("../guests/statements/src/statements.txt"));

/// A component for a rule.
pub const RULE: &str = "rule";
pub const RULE_MANIFEST: Place = Place(include_bytes!("../guests/rule/block.toml"));
pub const RULE_EXISTS: Place = Place(include_bytes!("../guests/rule/src/exists.sql"));
pub const RULE_UPDATE: Place = Place(include_bytes!("../guests/rule/src/update.sql"));
pub const RULE_DRIFTED: Place = Place(include_bytes!("../guests/rule/src/drifted.sql"));

/// A component that takes 200 MiB.
pub const GROWS: &str = "grows";

/// A guest as `run.sh` built it.
pub fn built(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/bench-guests/{name}.wasm"));
    fs::read(&path).with_context(|| format!("{} is not there: tests/bench/run.sh builds it", path.display()))
}

/// A copy with texts in places, filled up with spaces.
pub fn copy(original: &[u8], texts: &[(Place, &str)]) -> Result<Vec<u8>> {
    let mut copy = original.to_vec();
    for (Place(placeholder), text) in texts {
        let filled = format!("{text:<width$}", width = placeholder.len());
        ensure!(filled.len() == placeholder.len(), "{} bytes are too many for {}: {text}", text.len(), placeholder.len());
        let places: Vec<usize> = memmem(&copy, placeholder);
        ensure!(!places.is_empty(), "the component has no such place: build it again with tests/bench/run.sh");
        for place in places {
            copy[place..place + filled.len()].copy_from_slice(filled.as_bytes());
        }
    }
    Ok(copy)
}

/// Where a text stands. A byte at a time would take seconds for ten thousand components.
fn memmem(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let starts = bytes.windows(8).enumerate().filter(|(_, window)| *window == &text[..8]).map(|(place, _)| place);
    starts.filter(|place| bytes[*place..].starts_with(text)).collect()
}
