//! Why a boot did not come about.

use crate::{database::ConnectError, ledger::LedgerError, load::LoadError, plan::PlanError, report::Report, sandbox::CacheError};
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
    /// Another replica held the lock for longer than this one waits.
    #[error("another boot holds the lock for longer than {} s{}: look at what it does with `plinth status`, or wait longer", waited.as_secs(), holder.as_deref().map(|holder| format!(": {holder}")).unwrap_or_default())]
    Locked {
        /// How long it was waited for.
        waited: Duration,
        /// Who holds it and since when, if it could be seen.
        holder: Option<String>,
    },
    /// It was told to stop. What was not committed is rolled back.
    #[error("the boot was interrupted: what was not committed is rolled back, the next boot goes on from there")]
    Interrupted,
    /// A block failed. The report says which and why, and what was done before it.
    #[error("{}", .0.failure().unwrap_or_else(|| "the boot failed".to_owned()))]
    Failed(Box<Report>),
}

impl BootError {
    /// What the boot did before it failed, if it got so far.
    pub fn report(&self) -> Option<&Report> {
        match self {
            BootError::Failed(report) => Some(report),
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
                | BootError::Connect(ConnectError::Address(_) | ConnectError::NoHost)
        )
    }
}
