//! The queries of a block. Those of its post-conditions change nothing, so each goes in one round trip, and what was asked can be asked
//! again: at the end of the boot, and of a rule that did nothing but ask, at the next one.
//!
//! A component has neither a clock nor chance: what it does follows from what the database answers. As long as the answers are the same,
//! it need not be run again.

use super::{Session, told};
use crate::{
    contract::{Error, Rows},
    database::{Connection, described::Columned},
};
use futures_util::{StreamExt, TryStreamExt, pin_mut, stream};
use plinth_values::Raw;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_postgres::{Column, Row, RowStream, types::Type};

/// How many queries are on their way at once.
const AT_ONCE: usize = 32;
/// The most bytes of an answer that is asked for again beside others.
const SMALL: u64 = 64 << 10;

/// A query without parameters, with the digest of what it was answered. Values belong into parameters, and the ledger keeps none, so a
/// query that has some is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    #[serde(rename = "sql")]
    statement: String,
    /// SHA-256 in hexadecimal.
    answer: String,
}

impl Asked {
    pub(crate) fn statement(&self) -> &str {
        &self.statement
    }
}

/// The digest of an answer, as it comes.
#[derive(Default)]
pub(super) struct Answer {
    digest: Sha256,
    rows: bool,
    bytes: u64,
}

impl Answer {
    pub(super) fn row(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        self.rows = true;
        self.bytes += row.raw_size_bytes() as u64;
        // One so large is not asked for again, or is another one.
        if self.is_large() {
            return Ok(());
        }
        // How many columns there are and what they are called is a part of it: what a star stands for may change.
        self.columns(row.columns());
        for place in 0..row.columns().len() {
            let raw: Raw<'_> = row.try_get(place)?;
            self.digest.update(raw.0.map_or(-1, |bytes| bytes.len() as i64).to_be_bytes());
            self.digest.update(raw.0.unwrap_or_default());
        }
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.bytes > SMALL
    }

    fn columns(&mut self, columns: &[Column]) {
        self.digest.update((columns.len() as u64).to_be_bytes());
        for column in columns {
            self.digest.update((column.name().len() as u64).to_be_bytes());
            self.digest.update(column.name());
            self.digest.update(column.type_().oid().to_be_bytes());
        }
    }

    /// What it makes of a query. `columns` are those of an answer without rows.
    pub(super) fn to(mut self, statement: &str, columns: &[Column]) -> Asked {
        if !self.rows {
            self.columns(columns);
        }
        let answer = if self.is_large() { "large".to_owned() } else { self.digest() };
        Asked { statement: statement.to_owned(), answer }
    }

    fn digest(self) -> String {
        self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a block asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    asked: Vec<Asked>,
    /// Once it looks at its post-conditions: how many statements there were before, and how many queries.
    pub(super) verifies: Option<(u64, usize)>,
}

impl Asking {
    /// It looks at its post-conditions from here on, or it does its work.
    pub(super) fn enter(&mut self, verifies: bool, statements: u64) {
        self.verifies = verifies.then_some((statements, self.asked.len()));
    }
}

impl Session {
    /// What the block asked since it looks at its post-conditions; none if it did anything else.
    pub(crate) fn asked(&self) -> Option<Vec<Asked>> {
        let (from, place) = self.asking.verifies?;
        let asked = self.asking.asked.get(place..)?;
        (self.failed.is_none() && self.statements == from + asked.len() as u64).then(|| asked.to_vec())
    }

    /// Everything that the block asked, and how much of it before it looked at its post-conditions; none if it did anything else.
    pub(crate) fn asked_only(&self) -> Option<(Vec<Asked>, usize)> {
        let (_, before) = self.asking.verifies?;
        let only = self.failed.is_none() && self.savepoints_opened == 0 && self.statements == self.asking.asked.len() as u64;
        only.then(|| (self.asking.asked.clone(), before))
    }

    /// Notes an answer, unless it is too large to be asked for again. `before` is what was read before it.
    pub(super) fn answered(&mut self, asked: Asked, before: u64) {
        if self.bytes_read - before <= SMALL {
            self.asking.asked.push(asked);
        }
    }

    /// Runs a query without parameters. None if it has a column that only text can carry, which is known too late.
    pub(super) async fn look(&mut self, statement: &str) -> Result<Option<Rows>, Error> {
        let before = self.bytes_read;
        let connection = self.connection.clone();
        let mut stream =
            Columned::new(self.behind(async { ask(&connection, statement).await.map_err(|error| told(&error)) }).await?);
        let mut answer = Answer::default();
        let Some(rows) = self.receive(&mut stream, None, Some(&mut answer)).await? else { return Ok(None) };
        self.answered(answer.to(statement, stream.columns()), before);
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

/// The savepoint that [`ask_each`] goes back to after each block's queries.
pub(crate) const ASKED_AGAIN: &str = "plinth_again";

/// Asks the queries of blocks again, for whether all of a block's are answered as they were, and how long that took. One that fails now is
/// answered otherwise, and holds up no other: each block's are behind a savepoint, [`ASKED_AGAIN`], which is to be there.
///
/// # Errors
///
/// If the savepoint cannot be gone back to.
pub(crate) async fn ask_each(
    connection: &Arc<Connection>,
    blocks: Vec<Vec<Asked>>,
) -> Result<Vec<(bool, Duration)>, tokio_postgres::Error> {
    let asks = |asked: Vec<Asked>| asked.into_iter().map(Some).chain([None]);
    let one = |asked: Option<Asked>| {
        let connection = connection.clone();
        async move {
            match asked {
                Some(asked) => Ok(Some(again(connection, asked).await.unwrap_or(false))),
                None => connection.send(&format!("rollback to savepoint {ASKED_AGAIN}")).await.map(|_| None),
            }
        }
    };
    let answers = stream::iter(blocks.into_iter().flat_map(asks).map(one)).buffered(AT_ONCE);
    pin_mut!(answers);
    let (mut told, mut same, mut from) = (Vec::new(), true, Instant::now());
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Some(answered) => same &= answered,
            None => {
                told.push((same, from.elapsed()));
                (same, from) = (true, Instant::now());
            }
        }
    }
    Ok(told)
}

async fn again(connection: Arc<Connection>, asked: Asked) -> Result<bool, tokio_postgres::Error> {
    let mut rows = Columned::new(ask(&connection, &asked.statement).await?);
    let mut answer = Answer::default();
    while let Some(row) = rows.next().await.transpose()? {
        let before = answer.is_large();
        answer.row(&row)?;
        // It is another one now. What the cancellation hits is run, as it would be if it were answered otherwise.
        if answer.is_large() && !before {
            connection.canceller().cancel().await;
        }
    }
    Ok(answer.to(&asked.statement, rows.columns()) == asked)
}
