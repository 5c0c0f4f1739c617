//! The queries of a block's post-conditions. They change nothing, so each goes in one round trip, and what was asked can be asked again at
//! the end of the boot.
//!
//! A component has neither a clock nor chance: what it says of its post-conditions follows from what the database answers. As long
//! as the answers are the same, it need not be run again.

use super::{Session, rows::Described, told};
use crate::{
    contract::{Error, Rows},
    database::Connection,
};
use futures_util::{StreamExt, TryStreamExt, pin_mut, stream};
use plinth_values::Raw;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_postgres::{Row, RowStream, types::Type};

/// How many queries are on their way at once.
const AT_ONCE: usize = 32;
/// The most bytes of an answer that is asked for again beside others.
const SMALL: u64 = 64 << 10;

/// A query, with the digest of what it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    statement: String,
    answer: [u8; 32],
}

/// The digest of an answer, as it comes.
#[derive(Default)]
pub(super) struct Answer(Sha256);

impl Answer {
    pub(super) fn row(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        // How many columns there are and what they are called is a part of it: what a star stands for may change.
        self.0.update((row.columns().len() as u64).to_be_bytes());
        for (place, column) in row.columns().iter().enumerate() {
            let raw: Raw<'_> = row.try_get(place)?;
            self.0.update((column.name().len() as u64).to_be_bytes());
            self.0.update(column.name());
            self.0.update(column.type_().oid().to_be_bytes());
            self.0.update(raw.0.map_or(-1, |bytes| bytes.len() as i64).to_be_bytes());
            self.0.update(raw.0.unwrap_or_default());
        }
        Ok(())
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Session {
    /// What the block asked since it looks at its post-conditions; none if it did anything else.
    pub(crate) fn asked(&self) -> Option<Vec<Asked>> {
        let (from, asked) = self.looks.as_ref()?;
        (self.failed.is_none() && self.statements == from + asked.len() as u64).then(|| asked.clone())
    }

    /// Runs a query without parameters. None if it has a column that only text can carry, which is known too late.
    pub(super) async fn look(&mut self, statement: &str) -> Result<Option<Rows>, Error> {
        let before = self.bytes_read;
        let stream = ask(&self.connection.clone(), statement).await.map_err(|error| told(&error))?;
        let mut answer = Answer::default();
        let Some(mut rows) = self.receive(stream, None, Some(&mut answer)).await? else { return Ok(None) };
        if rows.values.is_empty() {
            // Only rows bring the columns with them. Without them it is not known whether it is the same answer later.
            rows.columns = Described::of(self.prepare(statement).await?.columns()).columns;
            return Ok(Some(rows));
        }
        if let Some((_, asked)) = self.looks.as_mut().filter(|_| self.bytes_read - before <= SMALL) {
            asked.push(Asked { statement: statement.to_owned(), answer: answer.digest() });
        }
        Ok(Some(rows))
    }
}

async fn ask(connection: &Connection, statement: &str) -> Result<RowStream, tokio_postgres::Error> {
    let none: [(&str, Type); 0] = [];
    connection.client().query_typed_raw(statement, none).await
}

/// Asks queries again, for whether each is answered as it was.
///
/// # Errors
///
/// The database's, of the first that fails.
pub(crate) async fn ask_again(connection: &Arc<Connection>, asked: Vec<Asked>) -> Result<Vec<bool>, tokio_postgres::Error> {
    let again = |asked| again(connection.clone(), asked);
    stream::iter(asked.into_iter().map(again)).buffered(AT_ONCE).try_collect().await
}

async fn again(connection: Arc<Connection>, asked: Asked) -> Result<bool, tokio_postgres::Error> {
    let rows = ask(&connection, &asked.statement).await?;
    pin_mut!(rows);
    let mut answer = Answer::default();
    while let Some(row) = rows.try_next().await? {
        answer.row(&row)?;
    }
    Ok(answer.digest() == asked.answer)
}
