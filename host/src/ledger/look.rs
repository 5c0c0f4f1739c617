//! The look without a lock: one round trip that most boots end with.

use super::{FORMAT, Ledger, LedgerError};
use crate::database::ResultSets;
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
    /// The query of the look. On a database without a ledger it fails with 42P01 or 3F000, which is an answer too.
    pub(crate) fn look_query(&self) -> String {
        let application = self.application();
        // One row of one table: what a new session has to read of the catalog is most of the time that this takes.
        format!(
            "select format, complete -> {application} ->> 'boot', complete -> {application} ->> 'digest' from {}.ledger",
            self.quoted()
        )
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
        let Some(row) = sets.set_from_end(place).first() else { return Ok(Look::Absent) };
        let field = |place| row.try_get(place).ok().flatten();
        let format = field(0).and_then(|text| text.parse().ok()).unwrap_or(i32::MAX);
        if format > FORMAT {
            return Err(LedgerError::Newer { schema: self.schema.clone(), found: format });
        }
        let last = field(1).and_then(|id| id.parse().ok()).zip(field(2));
        let last = last.map(|(id, digest)| LastBoot { id, digest: digest.to_owned() });
        Ok(Look::Present { format, last })
    }
}
