//! One runner at a time for a database, a ledger schema and an application; and a token that fences off the one before.
//!
//! Two things are held by a runner. An advisory session lock, on a connection of its own, tells the living from the dead: the
//! server releases it when that connection ends. Its row in the ledger's `runners` has a token that grows with every runner,
//! and each transaction of a block checks it before COMMIT: a runner that lost its lock and does not know it yet commits
//! nothing. Behind a transaction pooler there are no sessions to hold a lock; there the row is a lease that the runner renews.
//! Both ways respect each other, so that a replica behind a pooler and one without never run together.

mod claim;
mod held;
mod key;

#[cfg(test)]
mod model;

pub(crate) use claim::{Attempt, Claimant, Claimed};
pub(crate) use held::Held;
pub(crate) use key::{Doing, LockKey, pause, shown_while};

use std::time::Duration;

/// How long a lease holds without being renewed: longer than a server needs to restart, shorter than a probe's patience.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// How the runner's lock is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockMode {
    /// By a session lock, unless a pooler stands between host and server: then by a lease, and the report says so.
    #[default]
    Auto,
    /// By a session lock, whatever stands between. A boot whose statements meet other sessions, behind a transaction pooler, does not get it.
    Session,
    /// By a lease, whatever stands between.
    Lease,
}

/// How it is held in a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Session,
    Lease,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Session => "session",
            Mode::Lease => "lease",
        }
    }
}
