//! Why a boot did not come about.

use crate::{
    database::ConnectError,
    ledger::LedgerError,
    load::LoadError,
    plan::PlanError,
    report::{Report, Retry},
    sandbox::CacheError,
};
use std::time::Duration;

/// Why a boot did not come about. What was done until then is in [`BootError::report`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// Components cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The blocks do not fit together or to the database. Nothing was changed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no place to run blocks in.
    #[error(transparent)]
    Sandbox(#[from] CacheError),
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The ledger cannot be read or written, or is too new.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What exists in the database cannot be looked up.
    #[error("what exists in the database cannot be looked up: {}", crate::database_reason(.0))]
    Catalog(#[source] tokio_postgres::Error),
    /// The blocks' own role walls nothing off.
    #[error("blocks are to run as {role}, which {reasons}: `plinth setup --roles` tells what to set up")]
    Roles {
        /// The role.
        role: String,
        /// Why it is none.
        reasons: String,
    },
    /// Another replica held the lock for longer than this one waits.
    #[error("another boot holds the lock for longer than {} s{}: look at what it does with `plinth status`, or wait longer", waited.as_secs(), holder.as_deref().map(|holder| format!(": {holder}")).unwrap_or_default())]
    Locked {
        /// How long it was waited for.
        waited: Duration,
        /// Who holds it and since when, if it could be seen.
        holder: Option<String>,
    },
    /// The lock was lost while blocks ran: the connection that holds it broke, or a lease ran out.
    #[error("the boot lost its lock and stopped before it wrote anything more: {0}")]
    LockLost(String),
    /// It was told to stop. What was not committed is rolled back. The report of what was done, if blocks ran already.
    #[error("the boot was interrupted: what was not committed is rolled back, the next boot goes on from there")]
    Interrupted(Option<Box<Report>>),
    /// It was tried again for as long as the budget allows, and did not pass.
    #[error("{source}; tried again {} times, no more within the budget of {} s (--retry-for)", retries.len(), budget.as_secs())]
    Exhausted {
        /// What failed in the last try.
        source: Box<BootError>,
        /// What was tried again, and why.
        retries: Vec<Retry>,
        /// The budget.
        budget: Duration,
        /// What was done in earlier tries, if blocks ran.
        report: Option<Box<Report>>,
    },
    /// A block failed. The report says which and why, and what was done before it.
    #[error("{}", .0.failure().unwrap_or_else(|| "the boot failed".to_owned()))]
    Failed(Box<Report>),
}

impl BootError {
    /// What the boot did before it failed, if it got so far.
    pub fn report(&self) -> Option<&Report> {
        match self {
            BootError::Failed(report) => Some(report),
            BootError::Interrupted(report) => report.as_deref(),
            BootError::Exhausted { report, source, .. } => report.as_deref().or_else(|| source.report()),
            _ => None,
        }
    }

    /// Whether what was given is wrong, as opposed to a block or the database that failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            BootError::Load(_)
                | BootError::Plan(_)
                | BootError::Sandbox(_)
                | BootError::Roles { .. }
                | BootError::Connect(ConnectError::Address(_) | ConnectError::NoHost)
        )
    }
}
