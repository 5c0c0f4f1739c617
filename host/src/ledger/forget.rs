//! Making a block run once more, for `plinth test`: nobody else takes back what happened.

use super::Ledger;
use crate::database::literal;

impl Ledger {
    /// Forgets that a migration was applied, and that anything was ever complete.
    pub(crate) fn forget(&self, id: &str) -> String {
        format!(
            "update {0}.blocks set first_applied = null, started = null where application = {1} and id = {2};
             update {0}.look set boot = null, digest = null",
            self.quoted(),
            self.application(),
            literal(id)
        )
    }
}
