//! From what went wrong to what the report says.

use crate::{
    contract::{Check, DatabaseError, Error},
    database::{around::Around, discreet::discreet, questions::REPLACED, session::FailedStatement, touched::Touched},
    ledger::FENCED,
    report::{ErrorClass, ReportError, shown, shown_name},
    sandbox::BlockError,
};

/// The most of a statement that a report shows, in bytes.
const SQL: usize = 2_000;
/// The most of a message that a report shows, in bytes.
const MESSAGE: usize = 4_000;

fn not_as_before(what: &str) -> String {
    format!("the block changed what belongs to the host: {what} is not as it was before the block")
}

impl ReportError {
    pub(super) fn new(class: ErrorClass, message: impl Into<String>) -> ReportError {
        ReportError { class, message: shown(&message.into(), MESSAGE), ..ReportError::default() }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> ReportError {
        self.hint = Some(hint.into());
        self
    }

    /// An error of a block, with the statement behind it.
    pub(super) fn of_block(error: &BlockError, failed: Option<FailedStatement>, current: Option<(u64, String)>) -> ReportError {
        match (error, failed) {
            (BlockError::GaveUp { message, cause }, Some(failed)) if cause.is_some() => {
                let mut told = ReportError::of_statement(&failed);
                // What the block says around the error, if it says anything.
                if !message.contains(&told.message) || message.len() > told.message.len() + 20 {
                    told.hint = told.hint.or_else(|| Some(format!("the block says: {message}")));
                }
                told
            }
            (BlockError::GaveUp { message, cause: Some(cause) }, None) => {
                let mut told = ReportError::of_error(cause);
                told.message = message.clone();
                told
            }
            (BlockError::GaveUp { message, .. }, _) => ReportError::new(ErrorClass::Block, message),
            (BlockError::Timeout(_), _) => {
                let told = ReportError::new(ErrorClass::Budget, error.to_string());
                let told = told.hint("raise seconds under [budget] in block.toml, or do the work in smaller parts");
                ReportError {
                    statement: current.as_ref().map(|(number, _)| *number),
                    sql: current.map(|(_, sql)| shown(&sql, SQL)),
                    ..told
                }
            }
            (BlockError::Trapped(_) | BlockError::Unrunnable(_), _) => ReportError::new(ErrorClass::Sandbox, error.to_string()),
        }
    }

    /// A statement that failed.
    pub(super) fn of_statement(failed: &FailedStatement) -> ReportError {
        ReportError { statement: Some(failed.number), sql: Some(shown(&failed.sql, SQL)), ..ReportError::of_error(&failed.error) }
    }

    fn of_error(error: &Error) -> ReportError {
        match error {
            Error::Database(error) => ReportError {
                // A block can make up an error of its own.
                sqlstate: Some(shown(&error.sqlstate, 5)),
                object: object(error).as_deref().map(shown_name),
                detail: error.detail.as_deref().map(|text| shown(text, MESSAGE)),
                hint: hint(error),
                ..ReportError::new(ErrorClass::Database, &error.message)
            },
            Error::Refused(refusal) => ReportError::new(ErrorClass::Refused, format!("{} ({})", refusal.message, refusal.rule)),
            Error::Budget(budget) => ReportError::new(ErrorClass::Budget, format!("{} ({})", budget.message, budget.limit)),
            Error::Value(error) => {
                let message = match (error.parameter, &error.column) {
                    (Some(parameter), _) => format!("parameter ${parameter}: {}", error.message),
                    (None, Some(column)) => format!("column {column}: {}", error.message),
                    (None, None) => error.message.clone(),
                };
                ReportError::new(ErrorClass::Value, message)
            }
            Error::Other(other) => ReportError::new(ErrorClass::Connection, &other.message),
        }
    }

    /// An error of a statement of the host's own.
    pub(super) fn of_host(error: &tokio_postgres::Error, doing: &str) -> ReportError {
        ReportError::of_end(error, doing, false)
    }

    /// The same of a statement in which a block's own constraints and triggers have their turn, with what the database says about
    /// rows if that is to be shown.
    pub(super) fn of_end(error: &tokio_postgres::Error, doing: &str, shows_values: bool) -> ReportError {
        if error.code().is_some_and(|code| code.code() == FENCED) {
            let fenced = ReportError::new(ErrorClass::Fenced, "another replica took over: this one had lost its lock");
            return fenced.hint("look at what it did with `plinth status`; this replica may start again");
        }
        let mut told = ReportError::of_error(&match crate::database::session::told(error) {
            Error::Database(error) if !shows_values => Error::Database(discreet(error)),
            error => error,
        });
        told.message = format!("{doing}: {}", told.message);
        told
    }

    /// What a block left otherwise than it was, or reached for. `path` is the search path that it left.
    pub(super) fn of_around(
        before: &Around,
        (after, path): (&Around, Option<&str>),
        touched: &Touched,
        ledger: &str,
    ) -> Option<ReportError> {
        let changed = before.changed(after, path).map(not_as_before);
        changed.or_else(|| touched.reach(ledger).map(str::to_owned)).map(|message| ReportError::new(ErrorClass::Effects, message))
    }

    /// That a block replaced what the host has prepared, found by `Questions::unharmed`; none if it is something else.
    pub(super) fn of_harm(error: &tokio_postgres::Error) -> Option<ReportError> {
        let replaced = error.code()?.code() == REPLACED;
        replaced.then(|| ReportError::new(ErrorClass::Effects, not_as_before("what the host has prepared")))
    }

    /// Post-conditions that do not hold; none if all do.
    pub(super) fn of_checks(checks: &[Check]) -> Option<ReportError> {
        let broken: Vec<String> = checks
            .iter()
            .filter(|check| !check.held)
            .map(|check| match &check.detail {
                Some(detail) => format!("{}: {detail}", check.name),
                None => check.name.clone(),
            })
            .collect();
        (!broken.is_empty())
            .then(|| ReportError::new(ErrorClass::PostCondition, format!("post-condition does not hold: {}", broken.join("; "))))
    }
}

/// `schema.table.column`, as far as the database names it; the constraint behind it.
fn object(error: &DatabaseError) -> Option<String> {
    let schema = error.schema.as_deref().filter(|schema| *schema != "public");
    let parts: Vec<&str> = [schema, error.table.as_deref(), error.column.as_deref()].into_iter().flatten().collect();
    let path = (!parts.is_empty()).then(|| parts.join("."));
    match (path, &error.constraint) {
        (Some(path), Some(constraint)) => Some(format!("{path} ({constraint})")),
        (None, Some(constraint)) => Some(constraint.clone()),
        (path, None) => path,
    }
}

/// What to do about an error that PostgreSQL gives no hint for.
fn hint(error: &DatabaseError) -> Option<String> {
    let ours = match error.sqlstate.as_str() {
        "55P03" => "another session holds a lock on the table: look at pg_stat_activity for long transactions, then start again",
        "57014" => "the statement took longer than the host allows: do the work in smaller parts",
        "42703" | "42P01" => {
            "declare what the block needs under requires in block.toml, so that this is found before the first statement"
        }
        "42501" => "the database's role lacks this right: grant it, or give the host another role",
        _ => return error.hint.as_deref().map(|text| shown(text, MESSAGE)),
    };
    Some(error.hint.as_deref().map_or_else(|| ours.to_owned(), |theirs| format!("{}; {ours}", shown(theirs, MESSAGE))))
}
