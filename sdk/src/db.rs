//! The block's way to the database: the host's statements on the host's transaction.

use crate::{
    FromRow, FromValue, Level, Result, SqlError, ToValue,
    bulk::BackendCursor,
    types::{BulkColumn, ContractError, ContractRows, Refusal, Value, ValueError},
};

/// What answers a [`Db`]: the host's imports inside a component, a connection of a test's own outside of one.
pub trait Backend {
    /// Runs a statement and returns the number of affected rows.
    fn execute(&self, statement: &str, params: &[Value]) -> Result<u64, SqlError>;
    /// Runs a statement and returns its rows.
    fn query(&self, statement: &str, params: &[Value]) -> Result<ContractRows, SqlError>;
    /// Runs a statement whose number of rows nobody asks for. A backend may wait for it.
    ///
    /// # Errors
    ///
    /// As [`execute`](Backend::execute), also of what was sent before.
    fn send(&self, statement: &str, params: &[Value]) -> Result<(), SqlError> {
        self.execute(statement, params).map(drop)
    }
    /// Opens a sub-step; dropping what comes back without releasing it rolls back.
    fn savepoint(&self) -> Result<Box<dyn BackendSavepoint>, SqlError>;
    /// A line for people.
    fn log(&self, level: Level, message: &str);
    /// Opens a cursor for [`bulk`](crate::bulk). A backend may have none.
    ///
    /// # Errors
    ///
    /// As [`query`](Backend::query).
    fn bulk_cursor(&self, _statement: &str, _params: &[Value]) -> Result<Box<dyn BackendCursor>, SqlError> {
        Err(unexpected("this backend reads no rows in bulk".to_owned()))
    }
    /// How columns of a table are encoded.
    ///
    /// # Errors
    ///
    /// As [`query`](Backend::query).
    fn bulk_describe(&self, _table: &str, _columns: &[String]) -> Result<Vec<BulkColumn>, SqlError> {
        Err(unexpected("this backend writes no rows in bulk".to_owned()))
    }
    /// Puts encoded rows into a table.
    ///
    /// # Errors
    ///
    /// As [`execute`](Backend::execute).
    fn bulk_copy(&self, _table: &str, _columns: &[String], _rows: &[u8]) -> Result<u64, SqlError> {
        Err(unexpected("this backend writes no rows in bulk".to_owned()))
    }
}

/// A sub-step of a [`Backend`].
pub trait BackendSavepoint {
    /// Keeps what was done.
    fn release(&self) -> Result<(), SqlError>;
}

/// The database as a block sees it.
pub struct Db {
    backend: Box<dyn Backend>,
}

impl Db {
    /// A database behind a backend of one's own: how a block runs natively, in a test or a debugger.
    pub fn with_backend(backend: impl Backend + 'static) -> Db {
        Db { backend: Box::new(backend) }
    }

    // In a component these go straight to the host's imports: a backend's table of functions would make every block import them, and so
    // keep those that use none of them from hosts that have none.

    fn backend_send(&self, statement: &str, params: &[Value]) -> Result<(), SqlError> {
        #[cfg(target_arch = "wasm32")]
        return crate::block::send(statement, params);
        #[cfg(not(target_arch = "wasm32"))]
        self.backend.send(statement, params)
    }

    pub(crate) fn bulk_cursor(&self, statement: &str, params: &[Value]) -> Result<Box<dyn BackendCursor>, SqlError> {
        #[cfg(target_arch = "wasm32")]
        return crate::block::bulk_cursor(statement, params);
        #[cfg(not(target_arch = "wasm32"))]
        self.backend.bulk_cursor(statement, params)
    }

    pub(crate) fn bulk_describe(&self, table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, SqlError> {
        #[cfg(target_arch = "wasm32")]
        return crate::block::bulk_describe(table, columns);
        #[cfg(not(target_arch = "wasm32"))]
        self.backend.bulk_describe(table, columns)
    }

    pub(crate) fn bulk_copy(&self, table: &str, columns: &[String], rows: &[u8]) -> Result<u64, SqlError> {
        #[cfg(target_arch = "wasm32")]
        return crate::block::bulk_copy(table, columns, rows);
        #[cfg(not(target_arch = "wasm32"))]
        self.backend.bulk_copy(table, columns, rows)
    }

    /// Runs one statement with parameters `$1`, `$2`, … and returns how many rows PostgreSQL says it affected; 0 for DDL.
    ///
    /// # Errors
    ///
    /// [`SqlError`]: the database's error with its SQLSTATE, the host's refusal, a budget, or a parameter that does not fit
    /// the type that the statement wants, named by its number.
    pub fn execute(&self, statement: &str, params: &[&dyn ToValue]) -> Result<u64, SqlError> {
        self.backend.execute(statement, &values(params))
    }

    /// Runs one statement whose number of rows nobody needs, such as a definition, without waiting for its answer: what comes next shares
    /// its round trip. Use it wherever the number of [`execute`](Db::execute) is not used.
    ///
    /// Statements run in the order in which they were sent. What the database has against one, the next call that waits says (`execute`,
    /// `query`, [`savepoint`](Db::savepoint), rows in bulk), or the host after the block's work: the block fails in either case, with
    /// this statement named. To go on after a failure, put it into a savepoint. In a test of its own a block waits for each.
    ///
    /// # Errors
    ///
    /// What is known at once: the host's refusal, a budget, a parameter that does not fit. Also what was sent before and failed.
    ///
    /// ```
    /// # use plinth_block::prelude::*;
    /// # fn f(db: &Db) -> Result<()> {
    /// db.send("create table notes (id bigint primary key, note text not null)", &[])?;
    /// db.send("create index notes_note on notes (note)", &[])?;
    /// # assert!(db.query_one::<bool>("select to_regclass('notes_note') is not null", &[])?);
    /// # Ok(()) }
    /// # plinth_test::example("", f);
    /// ```
    pub fn send(&self, statement: &str, params: &[&dyn ToValue]) -> Result<(), SqlError> {
        self.backend_send(statement, &values(params))
    }

    /// Runs one statement and returns its rows, each as `T`: a value, a tuple of values or a [`Row`].
    ///
    /// # Errors
    ///
    /// As [`Db::execute`]; also a column that cannot be read as the type asked for, named.
    ///
    /// ```
    /// # use plinth_block::prelude::*;
    /// # fn f(db: &Db) -> Result<()> {
    /// let costs: Vec<(String, Option<i32>)> = db.query("select slug, price_cents from capabilities", &[])?;
    /// # assert_eq!(costs, [("pep-check".to_owned(), None)]);
    /// # Ok(()) }
    /// # plinth_test::example("create table capabilities (slug text, price_cents int); insert into capabilities values ('pep-check')", f);
    /// ```
    pub fn query<T: FromRow>(&self, statement: &str, params: &[&dyn ToValue]) -> Result<Vec<T>, SqlError> {
        self.rows(statement, params)?.iter().map(|row| T::from_row(&row)).collect()
    }

    /// Runs one statement that returns exactly one row.
    ///
    /// # Errors
    ///
    /// As [`Db::query`]; also if there is no row or more than one.
    ///
    /// ```
    /// # use plinth_block::prelude::*;
    /// # fn f(db: &Db) -> Result<()> {
    /// let suites: i64 = db.query_one("select count(*) from test_suites where test_type = any($1)", &[&["known_answer", "negative"]])?;
    /// # assert_eq!(suites, 1);
    /// # Ok(()) }
    /// # plinth_test::example("create table test_suites (test_type text); insert into test_suites values ('negative'), ('edge_case')", f);
    /// ```
    pub fn query_one<T: FromRow>(&self, statement: &str, params: &[&dyn ToValue]) -> Result<T, SqlError> {
        let found = self.query::<T>(statement, params)?;
        let count = found.len();
        let mut found = found.into_iter();
        match (found.next(), count) {
            (Some(row), 1) => Ok(row),
            _ => Err(unexpected(format!("one row was expected, {count} came: {statement}"))),
        }
    }

    /// Runs one statement that returns a row or none.
    ///
    /// # Errors
    ///
    /// As [`Db::query`]; also if there is more than one row.
    pub fn query_opt<T: FromRow>(&self, statement: &str, params: &[&dyn ToValue]) -> Result<Option<T>, SqlError> {
        let found = self.query::<T>(statement, params)?;
        match found.len() {
            0 | 1 => Ok(found.into_iter().next()),
            count => Err(unexpected(format!("one row or none was expected, {count} came: {statement}"))),
        }
    }

    /// Runs one statement and returns its rows with their columns, untyped.
    ///
    /// # Errors
    ///
    /// As [`Db::execute`].
    pub fn rows(&self, statement: &str, params: &[&dyn ToValue]) -> Result<Rows, SqlError> {
        self.backend.query(statement, &values(params)).map(Rows)
    }

    /// Opens a sub-step that can be undone alone. Dropped without [`Savepoint::release`], everything since is rolled back,
    /// a failed statement included.
    ///
    /// # Errors
    ///
    /// As [`Db::execute`].
    ///
    /// ```
    /// # use plinth_block::prelude::*;
    /// # fn f(db: &Db) -> Result<()> {
    /// let step = db.savepoint()?;
    /// match db.execute("alter table runs add constraint positive check (cost >= 0)", &[]) {
    ///     Ok(_) => step.release()?,
    ///     Err(error) if error.sqlstate() == Some("23514") => drop(step), // somebody's row is negative: without the constraint, then
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # assert_eq!(db.query_one::<i64>("select count(*) from pg_constraint where conname = 'positive'", &[])?, 0);
    /// # Ok(()) }
    /// # plinth_test::example("create table runs (cost int); insert into runs values (-1)", f);
    /// ```
    pub fn savepoint(&self) -> Result<Savepoint, SqlError> {
        self.backend.savepoint().map(Savepoint)
    }

    /// A line at level info for the report and the host's log.
    pub fn info(&self, message: impl AsRef<str>) {
        self.backend.log(Level::Info, message.as_ref());
    }

    /// A line at level warning.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.backend.log(Level::Warning, message.as_ref());
    }

    /// A line at a level.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        self.backend.log(level, message.as_ref());
    }
}

/// A sub-step: a savepoint. Rolled back when dropped, unless released.
#[must_use = "a savepoint that is dropped is rolled back"]
pub struct Savepoint(Box<dyn BackendSavepoint>);

impl Savepoint {
    /// Keeps what was done since it was opened.
    ///
    /// # Errors
    ///
    /// If a statement failed since it was opened: then it can only be dropped.
    pub fn release(self) -> Result<(), SqlError> {
        self.0.release()
    }
}

/// The rows of a query.
#[derive(Clone, Debug)]
pub struct Rows(ContractRows);

impl Rows {
    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.columns.iter().map(|column| column.name.as_str())
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.0.values.iter().map(|values| Row { rows: &self.0, values })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.values.is_empty()
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    rows: &'a ContractRows,
    values: &'a [Value],
}

impl Row<'_> {
    /// The value of a column by its place, counted from 0.
    ///
    /// # Errors
    ///
    /// If there is no such column, or its value is no `T`.
    pub fn get<T: FromValue>(&self, place: usize) -> Result<T, SqlError> {
        let name = || self.rows.columns.get(place).map_or_else(|| place.to_string(), |column| column.name.clone());
        let value = self.values.get(place).ok_or_else(|| not_readable(name(), "there is no such column".to_owned()))?;
        T::from_value(value).map_err(|message| not_readable(name(), message))
    }

    /// The value of a column by its name.
    ///
    /// # Errors
    ///
    /// If there is no such column, or its value is no `T`.
    pub fn column<T: FromValue>(&self, name: &str) -> Result<T, SqlError> {
        let place = self.rows.columns.iter().position(|column| column.name == name);
        self.get(place.ok_or_else(|| not_readable(name.to_owned(), "there is no such column".to_owned()))?)
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

pub(crate) fn values(params: &[&dyn ToValue]) -> Vec<Value> {
    params.iter().map(|param| param.to_value()).collect()
}

fn not_readable(column: String, message: String) -> SqlError {
    SqlError(ContractError::Value(ValueError { parameter: None, column: Some(column), message, extra: Vec::new() }))
}

fn unexpected(message: String) -> SqlError {
    SqlError(ContractError::Other(Refusal { rule: "rows".to_owned(), message, extra: Vec::new() }))
}
