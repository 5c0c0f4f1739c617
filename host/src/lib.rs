//! Plinth: schema changes that an API applies to PostgreSQL when it starts.
//!
//! A folder holds WebAssembly components, one per schema migration or reconcile rule. [`Host::boot`] puts them in order, runs
//! each once or at every boot inside a sandbox and a transaction, and records what the database says really happened.
//! Removing a file removes a block.
//!
//! ```no_run
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let report = plinth::Host::new(plinth::Database::from_url("postgres://api@localhost/shop")?)
//!     .folder("blocks")
//!     .expect(["0066_reconcile_eligibility_from_cost"])
//!     .build("2026-11-23.1")
//!     .boot()
//!     .await?;
//! println!("{}", serde_json::to_string(&report)?);
//! # Ok(()) }
//! ```
//!
//! The folders read like the boot: `load`, `plan`, `lock`, `database`, `sandbox`, `boot` (migrate, reconcile, settle),
//! `ledger`, `report`. There is no global state: two hosts in one process do not know of each other.

mod boot;
mod contract;
mod database;
mod error;
mod events;
mod host;
mod ledger;
mod load;
mod lock;
#[cfg(feature = "page")]
pub mod page;
mod plan;
mod report;
mod sandbox;

#[cfg(feature = "cli")]
pub mod cli;

pub use boot::history::{History, PastBoot, PastOutcome};
pub use boot::status::{BlockStatus, OpenBackfill, RunningBlock, Status, WaitingReplica};
pub use boot::verify::{CheckReport, Verification};
pub use database::{ConnectError, Database, catalog::Difference};
pub use error::BootError;
pub use events::{Event, Progress, Stage};
pub use host::Host;
pub use ledger::LedgerError;
pub use load::{Bundle, Bundled, Component, Components, Digest, Interfaces, KeyError, Keys, LoadError, Problem, make_key, sign};
pub use lock::LockMode;
pub use plan::{
    Adoption, Baseline, BaselineBlock, Edge, PlanError, PlanProblem, Preview, PreviewAction, PreviewBlock, Provider, Reason,
};
#[cfg(feature = "embedded")]
pub use plinth_embedded as embedded;
pub use plinth_manifest as manifest;
pub use report::{
    BlockReport, BootReport, BootState, ErrorClass, Estimate, Evidence, Finding, HeldLock, JournalLine, LastEffect, Lock,
    ObjectChange, Outcome, Rehearsal, Rehearsed, RehearsedBlock, RehearsedStatement, Report, ReportError, Retry, RowCounts,
};
pub use sandbox::{CacheError, LimitError, Limits};

/// Whether a statement of a block would be sent; with everything declared that can be, or nothing but the table `t`. For tests that have
/// PostgreSQL judge the policy.
#[doc(hidden)]
pub fn is_sent(statement: &str, declared: bool) -> bool {
    database::policy::Policy::of_tests(declared).check(statement, database::policy::Phase::Work).is_ok()
}

/// What the server said, without the client's words around it.
pub(crate) fn database_reason(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
