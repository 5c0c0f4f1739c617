//! How large the batches of a backfill are.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The batches of a backfill. The host makes them larger or smaller, so that one takes about the time that is aimed at, and smaller
/// while replicas lag behind or other sessions wait for a lock of a batch.
///
/// ```toml
/// [batch]
/// rows = 500            # the first batch
/// most-rows = 20000     # none is larger
/// milliseconds = 250    # the time that is aimed at
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Batch {
    /// Rows of the first batch.
    pub rows: u64,
    /// Rows of the largest batch.
    pub most_rows: u64,
    /// Milliseconds that a batch is to take. Others may wait for its locks for so long.
    pub milliseconds: u64,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { rows: 1_000, most_rows: 100_000, milliseconds: 500 }
    }
}

impl Batch {
    /// The time that is aimed at.
    pub fn aim(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }

    pub(crate) fn mistake(&self) -> Option<String> {
        let zero = self.rows == 0 || self.milliseconds == 0;
        let small = self.most_rows < self.rows;
        match (zero, small) {
            (true, _) => Some("rows and milliseconds of a batch are at least 1".to_owned()),
            (_, true) => Some(format!("most-rows is {}, less than the rows of the first batch, {}", self.most_rows, self.rows)),
            _ => None,
        }
    }
}
