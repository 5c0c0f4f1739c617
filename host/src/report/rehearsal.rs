//! What a boot would have done: everything run and rolled back.

use super::{JournalLine, ObjectChange, ReportError, RowCounts};
use plinth_manifest::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a boot would do, from having done it and rolled it back. Serialises to the JSON that
/// `plinth plan --run --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rehearsal {
    /// Milliseconds from its BEGIN to its ROLLBACK, with what looking took.
    pub duration_ms: f64,
    /// Whether everything that was tried went through, so that a boot would, too.
    pub passed: bool,
    /// Every block, in the order of the plan.
    pub blocks: Vec<RehearsedBlock>,
    /// Blocks whose component is gone and that the boot would record as retired.
    pub retired: Vec<String>,
    /// Things that somebody should know.
    pub notes: Vec<String>,
}

/// What one block would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RehearsedBlock {
    /// The block.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Rehearsed,
    /// Why it was not tried or put its work off; what it says.
    pub message: Option<String>,
    /// Rows that it changes, by table, as the database counted them.
    pub rows: BTreeMap<String, RowCounts>,
    /// Objects that it creates or alters.
    pub objects: Vec<ObjectChange>,
    /// Locks on relations that it took, and for how long it held them. In one transaction, what an earlier block locked in the
    /// same mode is locked still and does not show again.
    pub locks: Vec<HeldLock>,
    /// Its statements.
    pub statements: Vec<RehearsedStatement>,
    /// What squawk says about them.
    pub findings: Vec<Finding>,
    /// Milliseconds that it took, without what looking took.
    pub duration_ms: f64,
    /// Why it failed.
    pub error: Option<ReportError>,
    /// What it logged.
    pub journal: Vec<JournalLine>,
}

/// How a block ended in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rehearsed {
    /// It changes something, or it is a migration that would be recorded as applied.
    Applied,
    /// There is nothing to change.
    Unchanged,
    /// It puts its work off.
    Deferred,
    /// It fails.
    Failed,
    /// A migration that was applied earlier.
    Skipped,
    /// It did not run; the message says why.
    NotTried,
}

impl Rehearsed {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Rehearsed::Applied => "applied",
            Rehearsed::Unchanged => "unchanged",
            Rehearsed::Deferred => "deferred",
            Rehearsed::Failed => "failed",
            Rehearsed::Skipped => "applied earlier",
            Rehearsed::NotTried => "not tried",
        }
    }
}

/// A lock, with its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HeldLock {
    /// The table, index or view, with its schema unless that is `public`.
    pub object: String,
    /// The mode as `pg_locks` names it, such as `RowExclusiveLock`.
    pub mode: String,
    /// Milliseconds from the start of the statement that took it to the block's end.
    pub held_ms: f64,
}

/// A statement of a block.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RehearsedStatement {
    /// Its number in the block, counted from 1.
    pub number: u64,
    /// The statement.
    pub sql: String,
    /// Milliseconds that it took.
    pub duration_ms: f64,
    /// Rows that it affected or returned; none if it failed.
    pub rows: Option<u64>,
    /// What the planner expected; none for what is not planned.
    pub estimate: Option<Estimate>,
}

/// What the planner expects of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// Rows that it returns or changes.
    pub rows: u64,
    /// The total cost, in the planner's unit.
    pub cost: f64,
}

/// What squawk says about a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The statement's number in the block, counted from 1.
    pub statement: u64,
    /// squawk's rule, such as `adding-required-field`.
    pub rule: String,
    /// What it says.
    pub message: String,
    /// What to do, if it knows.
    pub help: Option<String>,
}

impl Rehearsal {
    /// Whether something waits: a block that puts its work off, a migration that is pending or was not tried.
    pub fn is_waiting(&self) -> bool {
        self.blocks.iter().any(|block| match block.outcome {
            Rehearsed::Applied => block.kind.runs_once(),
            Rehearsed::Deferred | Rehearsed::NotTried => true,
            _ => false,
        })
    }

    /// What was found of a block.
    pub fn block(&self, id: &str) -> Option<&RehearsedBlock> {
        self.blocks.iter().find(|block| block.id == id)
    }
}

impl RehearsedBlock {
    pub(crate) fn new(id: &str, kind: Kind, outcome: Rehearsed) -> RehearsedBlock {
        RehearsedBlock {
            id: id.to_owned(),
            kind,
            outcome,
            message: None,
            rows: BTreeMap::new(),
            objects: Vec::new(),
            locks: Vec::new(),
            statements: Vec::new(),
            findings: Vec::new(),
            duration_ms: 0.0,
            error: None,
            journal: Vec::new(),
        }
    }

    /// The locks that keep others from reading or writing, without those on what the block itself creates.
    #[cfg(feature = "cli")]
    pub(crate) fn strong_locks(&self) -> impl Iterator<Item = &HeldLock> {
        self.locks.iter().filter(|lock| {
            !matches!(lock.mode.as_str(), "AccessShareLock" | "RowShareLock" | "RowExclusiveLock")
                && !self.objects.iter().any(|object| object.created && object.object == lock.object)
        })
    }
}
