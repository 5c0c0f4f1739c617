//! What may pass if it is tried again, and what never will: by SQLSTATE and by the state of the connection.

use crate::{
    database::ConnectError,
    error::BootError,
    ledger::{FENCED, LedgerError},
    report::{ErrorClass, Outcome, ReportError},
};
use std::io;
use tokio_postgres::error::SqlState;

/// Why something is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) message: String,
    pub(super) sqlstate: Option<String>,
    /// The block during which it happened, if one ran.
    pub(super) block: Option<String>,
}

/// The block's own transaction was in somebody's way, or somebody in its: the connection is fine.
const OF_A_TRANSACTION: [&str; 3] = ["40001", "40P01", "55P03"];

/// The server cannot serve us just now. 25006: a primary that became a standby. 57014, a statement that was cancelled, is not
/// among them: a statement that took too long will take too long again.
fn is_of_the_server(sqlstate: &str) -> bool {
    matches!(sqlstate, "57P01" | "57P02" | "57P03" | "53300" | "25006") || sqlstate.starts_with("08")
}

/// Whether a block that failed like this may be tried again in the same session.
pub(super) fn of_a_transaction(error: &ReportError) -> Option<Cause> {
    let sqlstate = error.sqlstate.as_deref()?;
    OF_A_TRANSACTION.contains(&sqlstate).then(|| Cause {
        message: error.message.clone(),
        sqlstate: Some(sqlstate.to_owned()),
        block: None,
    })
}

/// Whether a boot that failed like this may be tried again, on new connections.
pub(super) fn of_a_boot(error: &BootError) -> Option<Cause> {
    let sqlstate = match error {
        BootError::LockLost(_) => None,
        BootError::Connect(error) => of_connecting(error)?,
        BootError::Ledger(LedgerError::Connect(error)) => of_connecting(error)?,
        BootError::Ledger(LedgerError::Database { source, .. }) | BootError::Catalog(source) => of_the_database(source)?,
        BootError::Failed(report) => {
            let failed = report.blocks.iter().find(|block| block.outcome == Outcome::Failed);
            let error = failed.and_then(|block| block.error.as_ref())?;
            let lost = matches!(error.class, ErrorClass::Connection | ErrorClass::Fenced);
            if !lost && !error.sqlstate.as_deref().is_some_and(is_of_the_server) {
                return None;
            }
            error.sqlstate.clone()
        }
        _ => return None,
    };
    let block = match error {
        BootError::Failed(report) => {
            report.blocks.iter().find(|block| block.outcome == Outcome::Failed).map(|block| block.id.clone())
        }
        _ => None,
    };
    Some(Cause { message: error.to_string(), sqlstate, block })
}

fn of_connecting(error: &ConnectError) -> Option<Option<String>> {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::ReadOnly { .. } => Some(None),
        ConnectError::Refused { source, .. } => of_the_database(source),
        _ => None,
    }
}

/// The SQLSTATE, if there is one, of what may pass.
fn of_the_database(error: &tokio_postgres::Error) -> Option<Option<String>> {
    if let Some(code) = error.code().map(SqlState::code) {
        let passes = is_of_the_server(code) || code == FENCED || OF_A_TRANSACTION.contains(&code);
        return passes.then(|| Some(code.to_owned()));
    }
    let of_the_network = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        // What TLS makes of a certificate that it does not believe.
        .is_some_and(|error| error.kind() != io::ErrorKind::InvalidData);
    (error.is_closed() || of_the_network).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ErrorClass;

    fn database(sqlstate: &str) -> ReportError {
        ReportError { sqlstate: Some(sqlstate.into()), ..ReportError::new(ErrorClass::Database, "said the server") }
    }

    #[test]
    fn a_deadlock_a_serialization_failure_and_a_lock_timeout_pass_and_nothing_else_does() {
        for passes in ["40001", "40P01", "55P03"] {
            assert!(of_a_transaction(&database(passes)).is_some(), "{passes}");
        }
        for stays in ["57014", "23505", "42P01", "57P01", "53300", "40002", "22012"] {
            assert!(of_a_transaction(&database(stays)).is_none(), "{stays}");
        }
        assert!(of_a_transaction(&ReportError::new(ErrorClass::Budget, "took too long")).is_none());
    }

    #[test]
    fn what_the_server_cannot_do_just_now_passes_and_a_cancelled_statement_does_not() {
        for passes in ["57P01", "57P02", "57P03", "53300", "08006", "08P01", "25006"] {
            assert!(is_of_the_server(passes), "{passes}");
        }
        for stays in ["57014", "28P01", "3D000", "42501", "53100", "53200"] {
            assert!(!is_of_the_server(stays), "{stays}");
        }
    }
}
