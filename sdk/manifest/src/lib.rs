//! The manifest of a Plinth block: `block.toml`, read and checked.
//!
//! The manifest says what a block is and what it needs, so that a host can plan without running it. It is read twice: when
//! a block is compiled (the SDK's macro, where a mistake is a compile error) and when a host loads it.
//!
//! ```
//! let manifest = plinth_manifest::Manifest::parse(r#"
//!     id = "0066_reconcile_eligibility"
//!     kind = "rule"
//!     title = "A suite is eligible while it costs nothing"
//!     reads = ["test_suites.external_cost_cents"]
//!     writes = ["test_suites.scheduled_testing_eligible"]
//! "#)?;
//! assert_eq!(manifest.id, "0066_reconcile_eligibility");
//! # Ok::<(), plinth_manifest::ManifestError>(())
//! ```

mod batch;
mod budget;
mod error;
mod names;
mod need;
mod object;
mod write;

pub use batch::Batch;
pub use budget::Budget;
pub use error::ManifestError;
pub use names::{BlockId, ColumnName, Columns, TableName};
pub use need::Need;
pub use object::Object;
pub use write::Write;

use serde::{Deserialize, Serialize};

/// The name of the custom section that carries the manifest inside a component's core module.
pub const SECTION: &str = "plinth:manifest";

/// What a block says about itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The identity of the block, for ever.
    pub id: BlockId,
    /// Whether it runs once, in batches, or at every boot.
    pub kind: Kind,
    /// What it does, in one line for people.
    pub title: String,
    /// Who to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Blocks that run before this one, if they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<BlockId>,
    /// Objects that must exist when it starts, whoever makes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Object>,
    /// Objects that exist when it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Object>,
    /// Columns that it looks at, as far as their order against other rules matters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Columns>,
    /// Columns whose rows it changes. A write elsewhere rolls the block back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<Write>,
    /// Statements of kinds that are refused unless they are named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Need>,
    /// Whether the host wraps it in a transaction.
    #[serde(default)]
    pub transaction: Transaction,
    /// What a failure means for the boot.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Deferrals in a row after which the next one is a failure.
    #[serde(default = "default_deferrals")]
    pub deferrals: u32,
    /// The id that it had before. The ledger's history moves to the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<BlockId>,
    /// What happens when its component changed after it was applied. Migrations only: a rule runs at every boot anyway.
    #[serde(default)]
    pub changed: Changed,
    /// When it runs. Backfills only.
    #[serde(default, skip_serializing_if = "When::is_default")]
    pub when: When,
    /// How large its batches are. Backfills only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// What it may use before the host gives up on it. Of a backfill: what each batch may use.
    #[serde(default)]
    pub budget: Budget,
}

fn default_deferrals() -> u32 {
    3
}

/// How often a block runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Until it was applied, once in the life of a database.
    Migration,
    /// At every boot. It must converge.
    Rule,
    /// In batches until it is done, once in the life of a database.
    Backfill,
}

impl Kind {
    /// The kind as written in `block.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Migration => "migration",
            Kind::Rule => "rule",
            Kind::Backfill => "backfill",
        }
    }

    /// Whether it is done once, as opposed to at every boot.
    pub fn runs_once(self) -> bool {
        matches!(self, Kind::Migration | Kind::Backfill)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a backfill runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// In the boot: the API listens when it is done.
    #[default]
    Boot,
    /// Behind the API's start. Blocks that need it wait for a later boot.
    Background,
}

impl When {
    // serde gives a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_default(&self) -> bool {
        *self == When::Boot
    }
}

/// Who keeps a block's work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transaction {
    /// The host: all of it happens or none of it.
    #[default]
    Block,
    /// Nobody: each statement stands alone, as `CREATE INDEX CONCURRENTLY` demands. The block must be safe to repeat.
    None,
}

/// What a failure of a block means for the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The boot stops.
    #[default]
    Fail,
    /// The boot goes on, the failure counts as a deferral.
    Defer,
}

/// What happens when a migration's component is another one than the one that was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Changed {
    /// Nothing.
    Ignore,
    /// The report says so.
    #[default]
    Warn,
    /// The boot is refused.
    Refuse,
    /// It runs again: it must be safe to repeat.
    Rerun,
}

impl Manifest {
    /// Reads `block.toml` and checks what can be known from it alone.
    ///
    /// # Errors
    ///
    /// The first problem, with the line and column it stands at: a syntax error, an unknown or missing field, a malformed
    /// name, or a combination that cannot work, such as a rule outside a transaction.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| ManifestError::from_toml(text, &error))?;
        manifest.check().map_err(|(field, message)| ManifestError::at_field(text, field, message))?;
        Ok(manifest)
    }

    /// Whether it needs another block to be done first: it names it, or requires what that one provides.
    pub fn needs(&self, other: &Manifest) -> bool {
        self.after.contains(&other.id)
            || other.provides.iter().any(|object| self.requires.iter().any(|required| required.same(object)))
    }

    /// Whether it reads what another block writes and it does not write itself.
    pub fn reads_from(&self, other: &Manifest) -> bool {
        let reads = self.reads.iter().filter(|columns| !self.writes.iter().any(|own| own.overlaps(columns)));
        reads.into_iter().any(|columns| other.writes.iter().any(|write| write.overlaps(columns)))
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.title.trim().is_empty() {
            return Err(("title", "the title is empty: say in a line what the block does".into()));
        }
        if let Some((field, _)) = [("title", Some(&self.title)), ("team", self.team.as_ref())]
            .into_iter()
            .find(|(_, text)| text.is_some_and(|text| text.chars().any(char::is_control)))
        {
            return Err((field, "it contains a control character: it is shown to people in one line".into()));
        }
        if self.kind == Kind::Rule && self.transaction == Transaction::None {
            return Err((
                "transaction",
                "a rule runs inside a transaction: only a migration can say `transaction = \"none\"`".into(),
            ));
        }
        if self.kind == Kind::Backfill && self.transaction == Transaction::None {
            return Err(("transaction", "a backfill has a transaction for each batch, in which its cursor is kept".into()));
        }
        if self.kind != Kind::Backfill && self.when == When::Background {
            return Err(("when", format!("a {} runs in the boot: only a backfill can run behind it", self.kind)));
        }
        if self.kind != Kind::Backfill && self.batch.is_some() {
            return Err(("[batch]", format!("a {} has no batches: only a backfill has", self.kind)));
        }
        if let Some(message) = self.batch.as_ref().and_then(Batch::mistake) {
            return Err(("[batch]", message));
        }
        if self.transaction == Transaction::None && self.on_failure == OnFailure::Defer {
            return Err((
                "on-failure",
                "a migration outside a transaction cannot be rolled back, so it cannot be deferred".into(),
            ));
        }
        if self.after.contains(&self.id) {
            return Err(("after", "the block is to run after itself".into()));
        }
        if self.renamed_from.as_ref() == Some(&self.id) {
            return Err(("renamed-from", "the block was renamed from itself".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "id = \"a_1\"\nkind = \"migration\"\ntitle = \"t\"\n";

    #[test]
    fn the_least_manifest_has_defaults_for_the_rest() {
        let manifest = Manifest::parse(LEAST).unwrap();
        assert_eq!(manifest.transaction, Transaction::Block);
        assert_eq!(manifest.on_failure, OnFailure::Fail);
        assert_eq!(manifest.deferrals, 3);
        assert!(manifest.writes.is_empty());
    }

    #[test]
    fn an_unknown_field_is_an_error_at_its_line() {
        let error = Manifest::parse(&format!("{LEAST}write = [\"t\"]\n")).unwrap_err();
        assert_eq!(error.line(), 4);
        assert!(error.to_string().contains("write"), "{error}");
    }

    #[test]
    fn a_malformed_name_is_an_error_at_its_line() {
        let error = Manifest::parse(&format!("{LEAST}\nwrites = [\n  \"a.b.c.d\",\n]\n")).unwrap_err();
        assert!(error.to_string().contains("a.b.c.d"), "{error}");
        assert_eq!(error.line(), 6, "{error}");
    }

    #[test]
    fn an_object_that_is_two_things_is_refused() {
        let error = Manifest::parse(&format!("{LEAST}requires = [{{ table = \"a\", view = \"b\" }}]\n")).unwrap_err();
        assert!(error.to_string().contains("table"), "{error}");
    }

    #[test]
    fn a_rule_cannot_leave_its_transaction() {
        let error = Manifest::parse("id = \"a\"\nkind = \"rule\"\ntitle = \"t\"\ntransaction = \"none\"\n").unwrap_err();
        assert_eq!(error.line(), 4, "{error}");
    }

    #[test]
    fn only_a_backfill_has_batches_and_runs_in_the_background() {
        let backfill = "id = \"a\"\nkind = \"backfill\"\ntitle = \"t\"\n";
        let manifest = Manifest::parse(&format!("{backfill}when = \"background\"\n[batch]\nrows = 10\n")).unwrap();
        assert_eq!((manifest.when, manifest.batch.unwrap().rows), (When::Background, 10));
        assert_eq!(Manifest::parse(&format!("{backfill}transaction = \"none\"\n")).unwrap_err().line(), 4);
        assert_eq!(Manifest::parse(&format!("{backfill}[batch]\nrows = 0\n")).unwrap_err().line(), 4);
        for text in ["when = \"background\"\n", "[batch]\nrows = 10\n"] {
            let error = Manifest::parse(&format!("{LEAST}{text}")).unwrap_err();
            assert_eq!(error.line(), 4, "{error}");
            assert!(error.to_string().contains("only a backfill"), "{error}");
        }
    }

    #[test]
    fn a_write_names_its_rows_or_not() {
        let manifest =
            Manifest::parse(&format!("{LEAST}writes = [\"t.a\", {{ column = \"t.b\", rows = \"odd ids\" }}]\n")).unwrap();
        assert_eq!((manifest.writes[0].rows.as_deref(), manifest.writes[1].rows.as_deref()), (None, Some("odd ids")));
        assert_eq!(manifest.writes[1].columns.to_string(), "t.b");
        let error = Manifest::parse(&format!("{LEAST}writes = [{{ column = \"t.b\", row = \"odd\" }}]\n")).unwrap_err();
        assert!(error.to_string().contains("unknown field `row`"), "{error}");
    }

    #[test]
    fn a_need_is_one_of_a_known_list() {
        let manifest = Manifest::parse(&format!("{LEAST}allow = [\"do\", \"create-function\"]\n")).unwrap();
        assert_eq!(manifest.allow, [Need::Do, Need::CreateFunction]);
        let error = Manifest::parse(&format!("{LEAST}allow = [\"commit\"]\n")).unwrap_err();
        assert!(error.to_string().contains("lock-table"), "the error lists what there is: {error}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = Manifest::parse("id = \"a\"\ntitle = \"t\"\n").unwrap_err();
        assert!(error.to_string().contains("kind"), "{error}");
    }
}
