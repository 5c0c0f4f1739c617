//! Statements that were sent and whose answers nobody waited for yet: what is sent next rides with them.

use super::{FailedStatement, Session, misfit, told};
use crate::{
    contract::Error,
    database::{Ahead, Connection, ahead, policy::Phase},
};
use futures_util::future::join;
use plinth_values::{Value, parameters};
use std::collections::VecDeque;

/// How many are on their way at once. More than that are only a queue on the server's side.
const AT_ONCE: usize = 64;

/// A statement that was sent.
struct Sent {
    number: u64,
    sql: String,
    answer: Ahead<Result<u64, tokio_postgres::Error>>,
}

/// All of them, oldest first.
#[derive(Default)]
pub(super) struct Underway(VecDeque<Sent>);

impl Underway {
    /// The one that runs: its number and text.
    pub(super) fn runs(&self) -> Option<(u64, &str)> {
        self.0.front().map(|sent| (sent.number, sent.sql.as_str()))
    }

    /// Waits for all answers, in their order, up to the first failure. What is behind that fails for no reason of its own.
    async fn answers(&mut self) -> Result<(), FailedStatement> {
        while let Some(sent) = self.0.front_mut() {
            let answer = sent.answer.as_mut().await;
            let Some(sent) = self.0.pop_front() else { return Ok(()) };
            if let Err(error) = answer {
                self.0.clear();
                return Err(FailedStatement { number: sent.number, sql: sent.sql, error: told(&error), heard: true });
            }
        }
        Ok(())
    }
}

impl Session {
    /// Runs a statement whose number of rows nobody asks for. Its answer is waited for with that of what comes next. Where the host
    /// does something around each statement, it is waited for at once.
    pub(crate) async fn send(&mut self, statement: String, params: Vec<Value>) -> Result<(), Error> {
        if self.phase != Phase::Work || self.observer.is_some() {
            return self.execute(statement, params).await.map(drop);
        }
        let sent = self.try_send(statement, &params).await;
        self.noted(sent)
    }

    async fn try_send(&mut self, statement: String, params: &[Value]) -> Result<(), Error> {
        self.settle_rows().await?;
        self.admit(&statement, params.len())?;
        let prepared = if params.is_empty() { None } else { Some(self.prepare(&statement).await?) };
        let params = prepared.as_ref().map(|prepared| parameters(params, prepared.params())).transpose().map_err(misfit)?;
        if self.underway.0.len() >= AT_ONCE {
            self.catch_up().await?;
        }
        let (connection, sql, number) = (self.connection.clone(), statement.clone(), self.statements);
        let answer = ahead(async move {
            match prepared.zip(params) {
                Some((prepared, params)) => connection.client().execute_raw(&prepared, &params).await,
                None => connection.client().execute_typed(&statement, &[]).await,
            }
        });
        self.underway.0.push_back(Sent { number, sql, answer });
        // While the server is busy with one, the next may wait for each other.
        if self.underway.0.len() == 1 {
            Connection::leaves().await;
        }
        Ok(())
    }

    /// Waits for what was sent.
    ///
    /// # Errors
    ///
    /// That of the first that failed. It is noted as what failed, too.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Error> {
        self.behind(async { Ok(()) }).await
    }

    /// The same once the block has returned, so that it does not hear of a failure.
    pub(crate) async fn catch_up_unheard(&mut self) {
        let heard = self.failed.is_some();
        if self.catch_up().await.is_err()
            && let Some(failed) = &mut self.failed
        {
            failed.heard = heard;
        }
    }

    /// Sends something behind what was sent, and waits for both: an answer comes only when those before it were taken.
    ///
    /// # Errors
    ///
    /// That of what was sent before, or its own.
    pub(super) async fn behind<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.underway.0.is_empty() {
            return work.await;
        }
        // What is polled first was sent first.
        let (before, done) = join(self.underway.answers(), work).await;
        match before {
            Ok(()) => done,
            Err(failed) => {
                let error = self.explained(failed.error.clone());
                self.failed.get_or_insert(FailedStatement { error: error.clone(), ..failed });
                Err(error)
            }
        }
    }

    /// Whether there is anything that the block sent and that was not answered yet.
    pub(crate) fn is_underway(&self) -> bool {
        self.underway.runs().is_some()
    }

    /// What failed in the block's work, if that is known by now. None of its post-conditions.
    pub(crate) fn failed_at_work(&self) -> Option<&FailedStatement> {
        let sent = self.asking.verifies.map_or(self.statements, |(sent, _)| sent);
        self.failed.as_ref().filter(|failed| failed.number <= sent)
    }
}
