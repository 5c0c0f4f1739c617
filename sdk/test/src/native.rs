//! A block's database without WebAssembly: the same statements, sent from this process.

use crate::{bulk, ran::Failed};
use plinth_block::{
    Backend, BackendSavepoint, Level, SqlError,
    bulk::BackendCursor,
    types::{BulkColumn, Column, ContractError, ContractRows, DatabaseError, Refusal, Value, ValueError},
};
use plinth_values::{Parameter, Raw, decode, is_native, parameters, type_name};
use postgres::{
    Client,
    error::ErrorPosition,
    types::{Kind, ToSql, Type},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What a native run has sent and said.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) statements: RefCell<Vec<String>>,
    pub(crate) journal: RefCell<Vec<String>>,
    /// The first failure outside of a sub-step: whatever the block makes of it, its work is lost.
    pub(crate) failed: RefCell<Option<SqlError>>,
}

impl Told {
    /// The contract: a failure outside a savepoint ends the work, whatever the block makes of it.
    pub(crate) fn ended(&self) -> Result<(), Failed> {
        match self.failed.borrow_mut().take() {
            Some(error) => Err(Failed::after(error)),
            None => Ok(()),
        }
    }
}

/// A connection that answers a block.
#[derive(Clone)]
pub(crate) struct Native {
    pub(crate) client: Rc<RefCell<Client>>,
    pub(crate) told: Rc<Told>,
    savepoints: Rc<Cell<u32>>,
    cursors: Rc<Cell<u32>>,
}

impl Native {
    pub(crate) fn new(client: Rc<RefCell<Client>>) -> Native {
        Native { client, told: Rc::default(), savepoints: Rc::default(), cursors: Rc::default() }
    }

    /// Sends something, and remembers the first failure.
    pub(crate) fn noted<T>(&self, send: impl FnOnce(&mut Client) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let done = send(&mut self.client.borrow_mut());
        if let Err(error) = &done {
            self.told.failed.borrow_mut().get_or_insert_with(|| error.clone());
        }
        done
    }

    fn run<T>(&self, statement: &str, params: &[Value], send: Send<T>) -> Result<T, SqlError> {
        self.told.statements.borrow_mut().push(statement.to_owned());
        self.noted(|client| {
            let prepared = client.prepare(statement).map_err(|error| told(&error))?;
            let fitted = fitted(params, prepared.params())?;
            let params: Vec<&(dyn ToSql + Sync)> = fitted.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
            send(client, &prepared, &params)
        })
    }
}

/// Parameters as the statement wants them.
pub(crate) fn fitted(params: &[Value], wanted: &[Type]) -> Result<Vec<Parameter>, SqlError> {
    let values: Vec<_> = params.iter().cloned().map(from_contract).collect();
    parameters(&values, wanted).map_err(|misfit| value_error(misfit.parameter, None, misfit.message))
}

type Send<T> = fn(&mut Client, &postgres::Statement, &[&(dyn ToSql + Sync)]) -> Result<T, SqlError>;

impl Backend for Native {
    fn execute(&self, statement: &str, params: &[Value]) -> Result<u64, SqlError> {
        self.run(statement, params, |client, prepared, params| client.execute(prepared, params).map_err(|error| told(&error)))
    }

    fn query(&self, statement: &str, params: &[Value]) -> Result<ContractRows, SqlError> {
        self.run(statement, params, |client, prepared, params| {
            let columns: Vec<Column> = prepared
                .columns()
                .iter()
                .map(|column| Column { name: column.name().to_owned(), type_name: type_name(column.type_()) })
                .collect();
            let mut values = Vec::new();
            for row in client.query(prepared, params).map_err(|error| told(&error))? {
                let mut fields = Vec::with_capacity(columns.len());
                for (place, column) in prepared.columns().iter().enumerate() {
                    let raw: Raw<'_> = row.try_get(place).map_err(|error| told(&error))?;
                    let value = if is_read(column.type_()) {
                        decode(column.type_(), raw.0).map_err(|error| error.to_string())
                    } else {
                        Err("natively a block reads such a value only as text: cast it with ::text".to_owned())
                    };
                    let value = value.map_err(|message| value_error(None, Some(column.name().to_owned()), message));
                    fields.push(to_contract(value?));
                }
                values.push(fields);
            }
            Ok(ContractRows { columns, values, extra: Vec::new() })
        })
    }

    fn savepoint(&self) -> Result<Box<dyn BackendSavepoint>, SqlError> {
        let number = self.savepoints.get();
        self.savepoints.set(number + 1);
        let name = format!("plinth_step_{number}");
        self.client.borrow_mut().batch_execute(&format!("savepoint {name}")).map_err(|error| told(&error))?;
        let failed = self.told.failed.borrow().clone();
        Ok(Box::new(Step { native: self.clone(), name, released: Cell::new(false), failed }))
    }

    fn log(&self, level: Level, message: &str) {
        self.told.journal.borrow_mut().push(format!("{level:?}: {message}").to_lowercase());
    }

    fn bulk_cursor(&self, statement: &str, params: &[Value]) -> Result<Box<dyn BackendCursor>, SqlError> {
        let number = self.cursors.get();
        self.cursors.set(number + 1);
        self.told.statements.borrow_mut().push(statement.to_owned());
        self.noted(|client| bulk::declare(client, number, statement, params)).map(|opened| bulk::cursor(self, opened))
    }

    fn bulk_describe(&self, table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, SqlError> {
        self.noted(|client| bulk::describe(client, table, columns))
    }

    fn bulk_copy(&self, table: &str, columns: &[String], rows: &[u8]) -> Result<u64, SqlError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let statement = bulk::statement(table, columns);
        self.told.statements.borrow_mut().push(statement.clone());
        self.noted(|client| bulk::copy(client, &statement, rows))
    }
}

struct Step {
    native: Native,
    name: String,
    released: Cell<bool>,
    failed: Option<SqlError>,
}

impl BackendSavepoint for Step {
    fn release(&self) -> Result<(), SqlError> {
        self.native
            .client
            .borrow_mut()
            .batch_execute(&format!("release savepoint {}", self.name))
            .map_err(|error| told(&error))?;
        self.released.set(true);
        Ok(())
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.released.get() {
            let undo = format!("rollback to savepoint {0}; release savepoint {0}", self.name);
            // A lost connection shows at the next statement.
            let _ = self.native.client.borrow_mut().batch_execute(&undo);
            *self.native.told.failed.borrow_mut() = self.failed.clone();
        }
    }
}

plinth_values::contract!(plinth_block::types);

/// Whether a column can be read as it comes. The host asks for the others as text; of these only a label's binary form is its text.
fn is_read(of: &Type) -> bool {
    match of.kind() {
        Kind::Array(element) | Kind::Domain(element) => is_read(element),
        Kind::Enum(_) => true,
        _ => is_native(of) || of.name() == "citext",
    }
}

pub(crate) fn value_error(parameter: Option<u32>, column: Option<String>, message: String) -> SqlError {
    ContractError::Value(ValueError { parameter, column, message, extra: Vec::new() }).into()
}

/// A database's error in the contract's words.
pub(crate) fn told(error: &postgres::Error) -> SqlError {
    let Some(db) = error.as_db_error() else {
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        return ContractError::Other(Refusal { rule: "connection".into(), message, extra: Vec::new() }).into();
    };
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let position = match db.position() {
        Some(ErrorPosition::Original(at)) => Some(*at),
        _ => None,
    };
    ContractError::Database(DatabaseError {
        sqlstate: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: owned(db.detail()),
        hint: owned(db.hint()),
        schema: owned(db.schema()),
        table: owned(db.table()),
        column: owned(db.column()),
        constraint: owned(db.constraint()),
        position,
        extra: Vec::new(),
    })
    .into()
}
