//! The host's own statements go as one string in the simple protocol, so that they share a round trip. A block's never do.

use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};

/// The rows of each statement of a string, in order; a statement without rows has an empty list.
#[derive(Default)]
pub(crate) struct ResultSets(Vec<Vec<SimpleQueryRow>>);

impl ResultSets {
    /// Sends a string of statements and waits for all of them.
    pub(crate) async fn of(client: &Client, statements: &str) -> Result<ResultSets, Error> {
        let mut sets = Vec::new();
        let mut rows = Vec::new();
        for message in client.simple_query(statements).await? {
            match message {
                SimpleQueryMessage::Row(row) => rows.push(row),
                SimpleQueryMessage::CommandComplete(_) => sets.push(std::mem::take(&mut rows)),
                _ => {}
            }
        }
        Ok(ResultSets(sets))
    }

    /// The same but for the first statement.
    pub(crate) fn without_first(mut self) -> ResultSets {
        self.0.drain(..self.0.len().min(1));
        self
    }

    /// The rows of the statement at a place, counted from the last one: 0 is the last.
    pub(crate) fn set_from_end(&self, place: usize) -> &[SimpleQueryRow] {
        self.0.iter().rev().nth(place).map_or(&[], Vec::as_slice)
    }

    /// The rows of all statements.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &SimpleQueryRow> {
        self.0.iter().flatten()
    }

    /// Takes the last ones off.
    pub(crate) fn take_last(&mut self, statements: usize) -> ResultSets {
        ResultSets(self.0.split_off(self.0.len().saturating_sub(statements)))
    }

    /// How many statements there were.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The rows of the last statement.
    pub(crate) fn last(&self) -> &[SimpleQueryRow] {
        self.set_from_end(0)
    }

    /// The single value of the last statement.
    pub(crate) fn value(&self) -> Option<&str> {
        self.last().first().and_then(|row| text(row, 0))
    }
}

/// A field of a row; none if it is NULL or not there.
pub(crate) fn text(row: &SimpleQueryRow, place: usize) -> Option<&str> {
    row.try_get(place).ok().flatten()
}

/// A literal for a string of statements. NUL cannot be part of a text in PostgreSQL, so it is shown as `\0`.
pub(crate) fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(&text.replace('\0', "\\0"))
}

/// A quoted name for a string of statements.
pub(crate) fn name(text: &str) -> String {
    postgres_protocol::escape::escape_identifier(text)
}
