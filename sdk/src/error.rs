//! What can go wrong in a block.

use crate::types::{ContractError, Failure};
use std::{any::Any, fmt};

/// The result of a block's work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement failed, as the host tells it. The transaction is lost unless a savepoint is dropped around it.
#[derive(Clone, Debug)]
pub struct SqlError(pub(crate) ContractError);

impl From<ContractError> for SqlError {
    fn from(error: ContractError) -> SqlError {
        SqlError(error)
    }
}

impl SqlError {
    /// The error as the contract has it.
    pub fn kind(&self) -> &ContractError {
        &self.0
    }

    /// PostgreSQL's SQLSTATE, such as `23505`, if the database reported the error.
    pub fn sqlstate(&self) -> Option<&str> {
        match &self.0 {
            ContractError::Database(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    /// The violated constraint, if the database named one.
    pub fn constraint(&self) -> Option<&str> {
        match &self.0 {
            ContractError::Database(error) => error.constraint.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ContractError::Database(error) => write!(f, "{} ({})", error.message, error.sqlstate),
            ContractError::Refused(refusal) | ContractError::Other(refusal) => {
                write!(f, "{} ({})", refusal.message, refusal.rule)
            }
            ContractError::Budget(budget) => write!(f, "{} ({})", budget.message, budget.limit),
            ContractError::Value(error) => match (error.parameter, &error.column) {
                (Some(parameter), _) => write!(f, "parameter ${parameter}: {}", error.message),
                (None, Some(column)) => write!(f, "column {column}: {}", error.message),
                (None, None) => f.write_str(&error.message),
            },
        }
    }
}

impl std::error::Error for SqlError {}

/// Why a block gave up: what it was doing, and the statement's error behind it, if there is one. Made by `?` from
/// [`SqlError`] and from every standard error.
#[derive(Debug)]
pub struct Error {
    context: Vec<String>,
    cause: Option<SqlError>,
}

impl Error {
    /// An error of the block's own.
    pub fn message(message: impl Into<String>) -> Error {
        Error { context: vec![message.into()], cause: None }
    }

    /// The statement's error behind it.
    pub fn sql(&self) -> Option<&SqlError> {
        self.cause.as_ref()
    }

    /// Puts what was being done in front of it.
    pub fn context(mut self, doing: impl Into<String>) -> Error {
        self.context.insert(0, doing.into());
        self
    }

    pub(crate) fn into_failure(self) -> Failure {
        Failure { message: self.to_string(), cause: self.cause.map(|cause| cause.0), extra: Vec::new() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context.join(": "))
    }
}

// As in anyhow: `Error` itself is no std error, or this would overlap with the reflexive `From`.
impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        let cause = (&error as &dyn Any).downcast_ref::<SqlError>().cloned();
        Error { context: vec![error.to_string()], cause }
    }
}

/// `.context("…")` on results, for a sentence about what was being done.
pub trait Context<T> {
    /// Puts what was being done in front of the error.
    fn context(self, doing: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(doing))
    }
}
