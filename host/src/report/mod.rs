//! What a boot did, as a value, as JSON and for people.

mod evidence;
mod rehearsal;
mod shown;

pub use evidence::{Evidence, LastEffect};
pub use rehearsal::{Estimate, Finding, HeldLock, Rehearsal, Rehearsed, RehearsedBlock, RehearsedStatement};
pub(crate) use shown::{rows_told, shown, shown_name};

use crate::ledger::Recall;
use plinth_manifest::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a boot did. Serialises to the JSON that `plinth run --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The boot as a whole.
    pub boot: BootReport,
    /// Every block, in the order in which they ran or would have.
    pub blocks: Vec<BlockReport>,
}

/// The boot as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BootReport {
    /// Its number in the ledger. If there was nothing to do, that of the boot that did it; none if there was none yet.
    pub id: Option<i64>,
    /// How it ended.
    pub state: BootState,
    /// Milliseconds from after connecting to the end.
    pub duration_ms: f64,
    /// How often the server was waited for, after connecting, on all connections.
    pub round_trips: u64,
    /// The build of the API that booted, as it calls itself.
    pub build: Option<String>,
    /// Components that were found.
    pub found: usize,
    /// Blocks that ran.
    pub ran: usize,
    /// Blocks that did not have to run.
    pub skipped: usize,
    /// What failed, may pass, and was tried again.
    pub retries: Vec<Retry>,
    /// The role that blocks ran under; none if it was the host's own, or if none ran.
    pub blocks_role: Option<String>,
    /// Things that somebody should know and that stopped nothing.
    pub notes: Vec<String>,
}

impl BootReport {
    pub(crate) fn new(state: BootState) -> BootReport {
        BootReport {
            id: None,
            state,
            duration_ms: 0.0,
            round_trips: 0,
            build: None,
            found: 0,
            ran: 0,
            skipped: 0,
            retries: Vec::new(),
            blocks_role: None,
            notes: Vec::new(),
        }
    }
}

/// Something that failed and was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retry {
    /// The block that was tried again; none if it was the boot as a whole, on new connections.
    pub block: Option<String>,
    /// What failed.
    pub cause: String,
    /// PostgreSQL's SQLSTATE, if the database reported it.
    pub sqlstate: Option<String>,
    /// The pause before the next try, in milliseconds.
    pub pause_ms: u64,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BootState {
    /// Everything ran that had to.
    Complete,
    /// The same, but for blocks that put their work off.
    Deferred,
    /// Another replica did it while this one waited.
    Joined,
    /// A block failed, or the database.
    Failed,
    /// It was told to stop.
    Interrupted,
}

impl BootState {
    /// The word in reports and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            BootState::Complete => "complete",
            BootState::Deferred => "deferred",
            BootState::Joined => "joined",
            BootState::Failed => "failed",
            BootState::Interrupted => "interrupted",
        }
    }
}

/// What one block did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockReport {
    /// The block.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// Rows that it changed, by table, as the database counted them.
    pub rows: BTreeMap<String, RowCounts>,
    /// Objects that it created or altered.
    pub objects: Vec<ObjectChange>,
    /// Locks on relations that it held before its COMMIT.
    pub locks: Vec<Lock>,
    /// Statements that it sent.
    pub statements: u64,
    /// How often it was tried. More than once if something failed that may pass.
    pub attempts: u32,
    /// Milliseconds from its BEGIN to its COMMIT.
    pub duration_ms: f64,
    /// What the block says: a text, or why it puts its work off.
    pub message: Option<String>,
    /// Why it failed.
    pub error: Option<ReportError>,
    /// What it logged.
    pub journal: Vec<JournalLine>,
    /// Whether it was not run, since all that it asked when it last found nothing to do is answered as it was then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recalled: bool,
    /// What it may be recalled by at the next boot.
    #[serde(skip)]
    pub(crate) recall: Option<Box<Recall>>,
    /// Whether it did not run because of another block that put its work off.
    #[serde(skip)]
    pub(crate) waits: bool,
    /// Whether it ran outside a transaction, so that nothing of it could be rolled back.
    #[serde(skip)]
    pub(crate) outside: bool,
}

impl BlockReport {
    pub(crate) fn new(id: &str, kind: Kind, outcome: Outcome) -> BlockReport {
        BlockReport {
            id: id.to_owned(),
            kind,
            outcome,
            rows: BTreeMap::new(),
            objects: Vec::new(),
            locks: Vec::new(),
            statements: 0,
            attempts: 1,
            duration_ms: 0.0,
            message: None,
            error: None,
            journal: Vec::new(),
            recalled: false,
            recall: None,
            waits: false,
            outside: false,
        }
    }
}

/// How a block ended in a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran and changed something, or it is a migration that ran for the first time.
    Applied,
    /// It ran and there was nothing to change.
    Unchanged,
    /// It put its work off; everything it did was rolled back.
    Deferred,
    /// It failed; everything it did was rolled back.
    Failed,
    /// It was applied earlier, or the boot stopped before it.
    Skipped,
    /// Another replica ran it while this one waited.
    Joined,
    /// Its component is gone.
    Retired,
    /// It is a backfill that goes on behind the boot.
    Background,
}

impl Outcome {
    /// The word in reports and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Deferred => "deferred",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Joined => "joined",
            Outcome::Retired => "retired",
            Outcome::Background => "background",
        }
    }
}

/// Rows of one table that were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RowCounts {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that were changed.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

impl RowCounts {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    pub(crate) fn less(self, other: RowCounts) -> RowCounts {
        RowCounts {
            inserted: self.inserted.saturating_sub(other.inserted),
            updated: self.updated.saturating_sub(other.updated),
            deleted: self.deleted.saturating_sub(other.deleted),
        }
    }

    pub(crate) fn add(&mut self, other: RowCounts) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// An object of the database that came or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ObjectChange {
    /// What it is: `table`, `column`, `index`, …
    pub kind: String,
    /// Its name, with its schema unless that is `public`.
    pub object: String,
    /// Whether it is new. For functions and constraints: new or replaced.
    pub created: bool,
}

/// A lock on a relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lock {
    /// The table, index or view, with its schema unless that is `public`.
    pub object: String,
    /// The mode as `pg_locks` names it, such as `RowExclusiveLock`.
    pub mode: String,
}

/// A line that a block logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalLine {
    /// debug, info, warning or error.
    pub level: String,
    /// The line; control characters are escaped.
    pub message: String,
}

/// Why a block failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReportError {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// PostgreSQL's SQLSTATE, if the database reported it.
    pub sqlstate: Option<String>,
    /// The number of the statement in the block, counted from 1.
    pub statement: Option<u64>,
    /// The statement.
    pub sql: Option<String>,
    /// The table, column or constraint that the database names.
    pub object: Option<String>,
    /// What went wrong.
    pub message: String,
    /// What the database adds.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// The database reported an error.
    Database,
    /// The connection was lost.
    Connection,
    /// The host did not send a statement.
    Refused,
    /// A limit was reached.
    Budget,
    /// A parameter or a column has the wrong type.
    Value,
    /// The block gave up by itself.
    #[default]
    Block,
    /// The sandbox stopped it.
    Sandbox,
    /// A post-condition does not hold.
    PostCondition,
    /// It did what its manifest does not say.
    Effects,
    /// It and another rule undo each other's work, or it does not converge.
    Conflict,
    /// What its manifest provides is not there, or otherwise.
    Definition,
    /// The boot lost its lock, or another replica took over.
    Fenced,
}

impl std::fmt::Display for ReportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " (SQLSTATE {sqlstate})")?;
        }
        if let Some(object) = &self.object {
            write!(f, " at {object}")?;
        }
        if let Some(statement) = self.statement {
            write!(f, ", statement {statement}")?;
        }
        if let Some(sql) = &self.sql {
            write!(f, ": {sql}")?;
        }
        Ok(())
    }
}

impl Report {
    /// The block that failed and why, in a sentence; none if none did.
    pub fn failure(&self) -> Option<String> {
        self.blocks.iter().find_map(|block| {
            block.error.as_ref().filter(|_| block.outcome == Outcome::Failed).map(|error| format!("{}: {error}", block.id))
        })
    }

    /// A block's report.
    pub fn block(&self, id: &str) -> Option<&BlockReport> {
        self.blocks.iter().find(|block| block.id == id)
    }
}
