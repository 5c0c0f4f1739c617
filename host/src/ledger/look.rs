//! The look without a lock: one round trip that most boots end with.

use super::{FORMAT, Ledger, LedgerError};
use crate::database::{ResultSets, simple::text};
use tokio_postgres::error::SqlState;

/// What the look found.
#[derive(Clone, Debug)]
pub(crate) enum Look {
    /// There is no ledger yet.
    Absent,
    /// There is one.
    Present {
        /// Its format: this host's, or an older one.
        format: i32,
        /// The last boot that was complete, if any.
        last: Option<LastBoot>,
    },
}

/// The last boot that was complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastBoot {
    pub(crate) id: i64,
    /// Of the set of components that it ran.
    pub(crate) digest: String,
}

impl Look {
    pub(crate) fn last(&self) -> Option<&LastBoot> {
        match self {
            Look::Absent => None,
            Look::Present { last, .. } => last.as_ref(),
        }
    }

    /// Whether the ledger is there, in the format of this host.
    pub(crate) fn stands(&self) -> bool {
        matches!(self, Look::Present { format, .. } if *format == FORMAT)
    }
}

impl Ledger {
    /// The table that the look reads, all of it: a row for each application. On a database without a ledger that fails with 42P01 or
    /// 3F000, which is an answer too.
    pub(crate) fn look_table(&self) -> String {
        format!("{}.look", self.quoted())
    }

    /// The same as a query, to be sent with others.
    pub(crate) fn look_query(&self) -> String {
        format!("table {}", self.look_table())
    }

    /// Reads what the look brought.
    pub(crate) fn read_look(&self, found: Result<ResultSets, tokio_postgres::Error>) -> Result<Look, LedgerError> {
        let sets = match found {
            Ok(sets) => sets,
            Err(error) if matches!(error.code(), Some(&(SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME))) => {
                return Ok(Look::Absent);
            }
            Err(source) => return Err(LedgerError::Database { schema: self.schema.clone(), doing: "read", source }),
        };
        self.read_look_in(&sets, 0)
    }

    /// The same, if the look was one of several statements.
    pub(crate) fn read_look_in(&self, sets: &ResultSets, place: usize) -> Result<Look, LedgerError> {
        let rows = sets.set_from_end(place);
        let formats = rows.iter().map(|row| text(row, 1).and_then(|text| text.parse().ok()).unwrap_or(i32::MAX));
        let Some(format) = formats.max() else { return Ok(Look::Absent) };
        if format > FORMAT {
            return Err(LedgerError::Newer { schema: self.schema.clone(), found: format });
        }
        let ours = rows.iter().find(|row| text(row, 0) == Some(&self.application));
        let last = ours.and_then(|row| text(row, 2)?.parse().ok().zip(text(row, 3)));
        let last = last.map(|(id, digest)| LastBoot { id, digest: digest.to_owned() });
        Ok(Look::Present { format, last })
    }
}
