//! The ledger: the schema in the database that keeps boots and outcomes.

mod abandoned;
mod adopt;
mod backfill;
#[cfg(feature = "cli")]
mod forget;
mod history;
mod known;
mod look;
mod recall;
mod record;
mod roles;
mod runner;
mod schema;

pub(crate) use abandoned::Abandoned;
pub(crate) use backfill::Place;
#[cfg(test)]
pub(crate) use known::Entry;
pub(crate) use known::{KNOWN, Known, Provided};
pub(crate) use look::{LastBoot, Look};
pub(crate) use recall::Recall;
pub(crate) use record::{Record, Row, json};
pub(crate) use roles::{ROLE, Secret};
pub(crate) use runner::{Claim, FENCED, Token, holder};
pub(crate) use schema::{FORMAT, Ledger};

use crate::database::ConnectError;

/// What the ledger says that stops a boot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The ledger was made by a newer host.
    #[error(
        "the ledger in schema {schema} has format {found}, this host knows {FORMAT}: a newer host made it, start that one (an older host would misread it)"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// Its format.
        found: i32,
    },
    /// The database could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The ledger could not be read or written.
    #[error("the ledger in schema {schema} cannot be {doing}: {}", crate::database_reason(source))]
    Database {
        /// The schema.
        schema: String,
        /// read or written.
        doing: &'static str,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// Something in the ledger is not as this host writes it.
    #[error("the ledger in schema {schema} holds what this host does not understand: {source}")]
    Unreadable {
        /// The schema.
        schema: String,
        /// What.
        source: serde_json::Error,
    },
}
