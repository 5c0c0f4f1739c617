//! What a block wants to do that a host refuses unless the manifest says so.

use serde::{Deserialize, Serialize};

/// A right that a block's statements need and that most blocks do without: `allow = ["do"]`. Whoever reviews the block sees it
/// in its manifest; whether the database grants it is the role's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// DO blocks: what they do is not visible in their text.
    Do,
    /// CALL of a procedure.
    Call,
    /// Functions, procedures and aggregates in SQL or PL/pgSQL.
    CreateFunction,
    /// Functions that run with their owner's rights, whoever calls them.
    SecurityDefiner,
    /// Triggers and rewrite rules: what runs at somebody else's writes.
    CreateTrigger,
    /// Extensions.
    CreateExtension,
    /// GRANT and REVOKE on objects, default privileges, and a change of an object's owner.
    Grant,
    /// LOCK TABLE.
    LockTable,
}

impl Need {
    /// The need as written in `block.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Need::Do => "do",
            Need::Call => "call",
            Need::CreateFunction => "create-function",
            Need::SecurityDefiner => "security-definer",
            Need::CreateTrigger => "create-trigger",
            Need::CreateExtension => "create-extension",
            Need::Grant => "grant",
            Need::LockTable => "lock-table",
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
