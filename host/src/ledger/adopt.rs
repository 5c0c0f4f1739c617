//! Blocks that are recorded as applied without having run.

use super::Record;
use crate::{database::literal, load::Component};

impl Record {
    /// Marks blocks as applied by the components given. Their rows are there.
    pub(crate) fn adopted(&self, components: &[&Component]) -> String {
        let blocks: Vec<String> = components
            .iter()
            .map(|component| format!("({}, {})", literal(&component.manifest.id), literal(&component.digest.to_string())))
            .collect();
        format!(
            "update {}.blocks b set first_applied = now(), started = null, digest = adopted.digest
             from (values {}) as adopted (id, digest) where b.application = {} and b.id = adopted.id",
            self.ledger.quoted(),
            blocks.join(", "),
            self.ledger.application()
        )
    }
}
