//! What a block is made of, and how its exports call it.

use crate::{
    Backend, Checks, Db, Level, Result, SqlError,
    bindings::{
        migration::{
            exports::plinth::block::migrate,
            plinth::block::{
                journal,
                sql::{self, Savepoint as HostSavepoint},
            },
        },
        rule::exports::plinth::block::reconcile,
    },
    db::BackendSavepoint,
    types::{Check, ContractOutcome, ContractRows, Failure, Value},
};

/// How a block that did not fail ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done, or there was none; with a text for the report.
    Done(Option<String>),
    /// Not now, and why. The host rolls everything back and asks again at the next boot.
    Deferred(String),
}

/// The work is done.
///
/// # Errors
///
/// Never: it is a result so that it can end a function.
pub fn done() -> Result<Outcome> {
    Ok(Outcome::Done(None))
}

/// Puts the work off to the next boot, with the reason. After as many deferrals as `block.toml` allows, the host makes it
/// a failure.
///
/// # Errors
///
/// Never: it is a result so that it can end a function.
pub fn defer(reason: impl Into<String>) -> Result<Outcome> {
    Ok(Outcome::Deferred(reason.into()))
}

/// A block that runs once. Exported with [`migration!`](crate::migration).
pub trait Migration {
    /// Makes the change, inside the host's transaction.
    ///
    /// # Errors
    ///
    /// Any error rolls back all of it.
    fn apply(db: &Db) -> Result<Outcome>;

    /// Looks whether the change is there. Writes nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at. A condition that does not hold is no error, it is part of [`Checks`].
    fn verify(db: &Db) -> Result<Checks>;
}

/// A block that has its turn at every boot and must converge. Exported with [`rule!`](crate::rule). One that only asked, and found nothing to
/// do, is not run again as long as the database answers its queries as it did.
pub trait Rule {
    /// Brings the data to where the rule wants it. Looks before it writes: an UPDATE that finds no row still locks its table.
    ///
    /// # Errors
    ///
    /// Any error rolls back all of it.
    fn reconcile(db: &Db) -> Result<Outcome>;

    /// Looks whether the data is there. Writes nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at. A condition that does not hold is no error, it is part of [`Checks`].
    fn verify(db: &Db) -> Result<Checks>;
}

/// A block whose manifest is known where it runs natively, in a test. Implemented by the macros that export it.
pub trait Described {
    /// The text of its `block.toml`.
    fn manifest() -> &'static str;
}

impl<T: Migration> migrate::Guest for T {
    fn apply() -> Result<ContractOutcome, Failure> {
        outcome(T::apply)
    }

    fn verify() -> Result<Vec<Check>, Failure> {
        checks(T::verify)
    }
}

impl<T: Rule> reconcile::Guest for T {
    fn reconcile() -> Result<ContractOutcome, Failure> {
        outcome(T::reconcile)
    }

    fn verify() -> Result<Vec<Check>, Failure> {
        checks(T::verify)
    }
}

fn outcome(work: fn(&Db) -> Result<Outcome>) -> Result<ContractOutcome, Failure> {
    match work(&entered()) {
        Ok(Outcome::Done(text)) => Ok(ContractOutcome::Done(text)),
        Ok(Outcome::Deferred(reason)) => Ok(ContractOutcome::Deferred(reason)),
        Err(error) => Err(error.into_failure()),
    }
}

pub(crate) fn checks(look: fn(&Db) -> Result<Checks>) -> Result<Vec<Check>, Failure> {
    look(&entered()).map(Checks::into_list).map_err(crate::Error::into_failure)
}

/// Without the hook, a panic is a bare `unreachable` for the host.
pub(crate) fn entered() -> Db {
    std::panic::set_hook(Box::new(|panic| journal::panicked(&panic.to_string())));
    Db::with_backend(Host)
}

/// The host's imports.
struct Host;

impl Backend for Host {
    fn execute(&self, statement: &str, params: &[Value]) -> Result<u64, SqlError> {
        sql::execute(statement, params).map_err(SqlError)
    }

    fn query(&self, statement: &str, params: &[Value]) -> Result<ContractRows, SqlError> {
        sql::query(statement, params).map_err(SqlError)
    }

    fn savepoint(&self) -> Result<Box<dyn BackendSavepoint>, SqlError> {
        HostSavepoint::open().map(|savepoint| Box::new(savepoint) as Box<dyn BackendSavepoint>).map_err(SqlError)
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => journal::Level::Debug,
            Level::Info => journal::Level::Info,
            Level::Warning => journal::Level::Warning,
            Level::Error => journal::Level::Error,
        };
        journal::log(&level, message);
    }
}

impl BackendSavepoint for HostSavepoint {
    fn release(&self) -> Result<(), SqlError> {
        HostSavepoint::release(self).map_err(SqlError)
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn send(statement: &str, params: &[Value]) -> Result<(), SqlError> {
    sql::send(statement, params).map_err(SqlError)
}

#[cfg(target_arch = "wasm32")]
mod of_bulk {
    use crate::{
        SqlError,
        bindings::migration::plinth::block::bulk::{self, Cursor},
        bulk::BackendCursor,
        types::{BulkColumn, Value},
    };

    impl BackendCursor for Cursor {
        fn columns(&self) -> Vec<BulkColumn> {
            Cursor::columns(self)
        }

        fn read(&self, most_bytes: u32) -> Result<Vec<u8>, SqlError> {
            Cursor::read(self, most_bytes).map_err(SqlError)
        }
    }

    pub(crate) fn bulk_cursor(statement: &str, params: &[Value]) -> Result<Box<dyn BackendCursor>, SqlError> {
        Cursor::open(statement, params).map(|cursor| Box::new(cursor) as Box<dyn BackendCursor>).map_err(SqlError)
    }

    pub(crate) fn bulk_describe(table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, SqlError> {
        bulk::describe(table, columns).map_err(SqlError)
    }

    pub(crate) fn bulk_copy(table: &str, columns: &[String], rows: &[u8]) -> Result<u64, SqlError> {
        bulk::copy_in(table, columns, rows).map_err(SqlError)
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use of_bulk::{bulk_copy, bulk_cursor, bulk_describe};
