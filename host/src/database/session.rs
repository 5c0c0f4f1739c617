//! The one way by which a block's SQL reaches the database.

mod bulk;
mod look;
mod rows;
mod underway;

use super::{
    Connection,
    described::Columned,
    discreet::discreet,
    effects::{Counters, counters_anyway},
    observer::{Observed, Observer},
    policy::{Allowed, Phase, Policy},
};
use crate::contract::{BudgetError, DatabaseError, Error, Refusal, Rows, ValueError};
use crate::events::Teller;
use crate::sandbox::Limits;
use bulk::{Cursor, Writing};
pub(crate) use look::{ASKED_AGAIN, Asked, ask_again, ask_each};
use look::{Answer, Asking};
use plinth_values::{Misfit, Value, parameters};
use rows::{Described, as_text};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_postgres::{Statement, error::ErrorPosition};
use underway::Underway;

/// How long the rest of a query that was cancelled may take to come.
const DRAINED: Duration = Duration::from_secs(10);

/// The statements of one block: counted, checked by the policy, limited.
pub(crate) struct Session {
    connection: Arc<Connection>,
    policy: Arc<Policy>,
    phase: Phase,
    limits: Limits,
    statements: u64,
    statement_budget: u64,
    /// Rows and bytes that queries returned, all in all.
    rows_read: u64,
    bytes_read: u64,
    /// What a rolled back sub-step counted is no effect.
    counters: Counters,
    prepared: HashMap<String, Statement>,
    savepoints: Vec<OpenSavepoint>,
    savepoints_opened: u32,
    cursors: HashMap<u32, Cursor>,
    cursors_opened: u32,
    writing: Option<Writing>,
    underway: Underway,
    /// The statement that was sent last.
    current: Option<String>,
    failed: Option<FailedStatement>,
    /// Whether a statement was to change definitions.
    defined: bool,
    asking: Asking,
    /// Whether a transaction of the session's own is open, around a query outside the block's.
    looking: bool,
    /// Only in a rehearsal.
    observer: Option<Observer>,
    teller: Option<Teller>,
    /// Whether what the database says about rows in an error is passed on.
    shows_values: bool,
    /// Outside a transaction: what fails, before each statement, if another runner took over.
    fence: Option<(Arc<Connection>, String)>,
}

/// A statement that failed, for the report.
#[derive(Clone, Debug)]
pub(crate) struct FailedStatement {
    pub(crate) number: u64,
    pub(crate) sql: String,
    pub(crate) error: Error,
    /// Whether the block heard of it.
    pub(crate) heard: bool,
}

struct OpenSavepoint {
    number: u32,
    counters: Counters,
    failed: Option<FailedStatement>,
}

impl Session {
    pub(crate) fn new(
        connection: Arc<Connection>,
        policy: Arc<Policy>,
        limits: Limits,
        statement_budget: Option<u64>,
    ) -> Session {
        connection.trips().bound_answers(limits.answer_bytes, limits.notices);
        Session {
            connection,
            rows_read: 0,
            bytes_read: 0,
            policy,
            phase: Phase::Work,
            statement_budget: statement_budget.unwrap_or(limits.statements).min(limits.statements),
            limits,
            statements: 0,
            counters: Counters::default(),
            prepared: HashMap::new(),
            savepoints: Vec::new(),
            savepoints_opened: 0,
            cursors: HashMap::new(),
            cursors_opened: 0,
            writing: None,
            underway: Underway::default(),
            current: None,
            failed: None,
            defined: false,
            asking: Asking::default(),
            looking: false,
            observer: None,
            teller: None,
            shows_values: false,
            fence: None,
        }
    }

    /// Has every statement told.
    pub(crate) fn tell(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// Has errors told with what the database says about rows.
    pub(crate) fn show_values(&mut self, shows: bool) {
        self.shows_values = shows;
    }

    /// What is allowed from here on.
    pub(crate) fn enter(&mut self, phase: Phase, counters: Counters) {
        self.phase = phase;
        self.asking.enter(phase == Phase::Verify, self.statements);
        self.counters = counters;
        self.savepoints.clear();
    }

    /// Has everything observed that the block does from here on, its post-conditions excepted.
    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// What was observed, if anything was to be.
    pub(crate) fn observed(&mut self) -> Option<Observed> {
        self.observer.take().map(Observer::seen)
    }

    async fn about_to_send(&mut self, allowed: &Allowed, statement: &str, params: &[Value]) -> Result<(), Error> {
        // Outside a transaction nothing is measured, so what is called in a query must not be able to write.
        if self.phase == Phase::Outside && allowed.reads {
            self.connection.send("begin read only").await.map_err(|error| told(&error))?;
            self.looking = true;
        }
        if let Some(observer) = self.observer.as_mut().filter(|_| self.phase == Phase::Work) {
            observer.before(&self.connection, self.statements, statement, params).await;
        }
        Ok(())
    }

    async fn sent(&mut self, rows: Option<u64>) {
        if std::mem::take(&mut self.looking)
            && let Err(error) = self.connection.send("rollback").await
        {
            // The next statement fails with it.
            tracing::debug!(error = %crate::database_reason(&error), "a look outside a transaction cannot be ended");
        }
        if let Some(observer) = self.observer.as_mut().filter(|_| self.phase == Phase::Work) {
            observer.after(&self.connection, rows).await;
        }
    }

    /// Has every statement preceded by one that fails if another runner took over. What is sent outside a transaction can not
    /// be fenced off later.
    pub(crate) fn fence(&mut self, connection: Arc<Connection>, fence: String) {
        self.fence = Some((connection, fence));
    }

    async fn fenced(&mut self) -> Result<(), Error> {
        let Some((connection, fence)) = self.fence.as_ref().filter(|_| self.phase == Phase::Outside) else { return Ok(()) };
        connection.send(fence).await.map(drop).map_err(|error| {
            let message = format!("the boot lost its lock, so nothing more is sent: {}", crate::database_reason(&error));
            Error::Other(Refusal { rule: "connection".into(), message, extra: Vec::new() })
        })
    }

    /// Closes what is prepared, and waits for nothing any more.
    pub(crate) fn forget(&mut self) {
        self.prepared.clear();
        self.underway = Underway::default();
    }

    /// Whether a statement changed definitions, as far as its text tells.
    pub(crate) fn defined(&self) -> bool {
        self.defined
    }

    /// How many statements were sent or refused.
    pub(crate) fn statements(&self) -> u64 {
        self.statements
    }

    /// The counters that effects are counted from.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The statement that failed last and was not undone by a savepoint.
    pub(crate) fn failed(&self) -> Option<&FailedStatement> {
        self.failed.as_ref()
    }

    /// The statement that runs or ran last, by number and text.
    pub(crate) fn current(&self) -> Option<(u64, &str)> {
        self.underway.runs().or_else(|| self.current.as_deref().map(|sql| (self.statements, sql)))
    }

    /// Runs a statement for the number of rows that it affected.
    pub(crate) async fn execute(&mut self, statement: String, params: Vec<Value>) -> Result<u64, Error> {
        let done = self.try_execute(&statement, &params).await;
        self.sent(done.as_ref().ok().copied()).await;
        self.noted(done)
    }

    /// Runs a statement for its rows.
    pub(crate) async fn query(&mut self, statement: String, params: Vec<Value>) -> Result<Rows, Error> {
        let done = self.try_query(&statement, &params).await;
        self.sent(done.as_ref().ok().map(|rows| rows.values.len() as u64)).await;
        self.noted(done)
    }

    fn noted<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        let done = done.map_err(|error| self.explained(error));
        if let Err(error) = &done {
            let sql = self.current.clone().unwrap_or_default();
            // The first failure is the cause; what PostgreSQL refuses after it (25P02) is not.
            self.failed.get_or_insert_with(|| FailedStatement {
                number: self.statements,
                sql,
                error: error.clone(),
                heard: true,
            });
        }
        done
    }

    /// An error as the block hears it.
    fn explained(&self, error: Error) -> Error {
        match error {
            Error::Other(_) if self.connection.trips().exceeded() => budget(
                "answer-bytes",
                format!(
                    "the server's answer has more than {} bytes: narrow the query, or read it in parts",
                    self.limits.answer_bytes
                ),
            ),
            Error::Other(_) if self.connection.trips().flooded() => {
                budget("notices", format!("the block's statements raise more than {} warnings", self.limits.notices))
            }
            // The block hears no more than the report, or it would end up there by way of the block's own words.
            Error::Database(error) if !self.shows_values => Error::Database(discreet(error)),
            error => error,
        }
    }

    /// Counts, limits and checks a statement. Everything that a block sends has passed here.
    fn admit(&mut self, statement: &str, params: usize) -> Result<Allowed, Error> {
        self.statements += 1;
        self.current = Some(statement.to_owned());
        if let Some(teller) = &self.teller {
            teller.statement(self.statements, statement);
        }
        if statement.len() > self.limits.statement_bytes {
            return Err(budget(
                "statement-bytes",
                format!("the statement has {} bytes, {} are allowed", statement.len(), self.limits.statement_bytes),
            ));
        }
        self.admit_one()?;
        if params > self.limits.parameters {
            return Err(budget(
                "parameters",
                format!("the statement has {params} parameters, {} are allowed", self.limits.parameters),
            ));
        }
        let allowed = self.policy.check(statement, self.phase).map_err(Error::Refused)?;
        if allowed.defines {
            self.defined = true;
            self.prepared.clear();
        }
        Ok(allowed)
    }

    /// Holds the number of statements against the budget.
    fn admit_one(&self) -> Result<(), Error> {
        if self.statements > self.statement_budget {
            return Err(budget("statements", format!("the block sends more than {} statements", self.statement_budget)));
        }
        Ok(())
    }

    async fn try_execute(&mut self, statement: &str, params: &[Value]) -> Result<u64, Error> {
        self.settle_rows().await?;
        let allowed = self.admit(statement, params.len())?;
        self.fenced().await?;
        self.about_to_send(&allowed, statement, params).await?;
        let connection = self.connection.clone();
        let client = connection.client();
        if params.is_empty() {
            return self.behind(async { client.execute_typed(statement, &[]).await.map_err(|error| told(&error)) }).await;
        }
        let prepared = self.prepare(statement).await?;
        let params = parameters(params, prepared.params()).map_err(misfit)?;
        self.behind(async { client.execute_raw(&prepared, &params).await.map_err(|error| told(&error)) }).await
    }

    async fn try_query(&mut self, statement: &str, params: &[Value]) -> Result<Rows, Error> {
        self.settle_rows().await?;
        let allowed = self.admit(statement, params.len())?;
        self.fenced().await?;
        self.about_to_send(&allowed, statement, params).await?;
        if self.phase == Phase::Verify
            && params.is_empty()
            && let Some(rows) = self.look(statement).await?
        {
            return Ok(rows);
        }
        let connection = self.connection.clone();
        let mut prepared = self.prepare(statement).await?;
        let params = parameters(params, prepared.params()).map_err(misfit)?;
        let described = Described::of(prepared.columns());
        let wrapped = as_text(statement, &described.types, allowed.wraps)?;
        let can_be_asked_again = allowed.reads && wrapped.is_none() && params.is_empty();
        if let Some(wrapped) = wrapped {
            prepared = self.prepare(&wrapped).await?;
        }
        let before = self.bytes_read;
        let query = async { connection.client().query_raw(&prepared, &params).await.map_err(|error| told(&error)) };
        let mut stream = Columned::prepared(self.behind(query).await?);
        let mut answer = Answer::default();
        let rows = self.receive(&mut stream, Some(described), can_be_asked_again.then_some(&mut answer)).await?;
        if can_be_asked_again {
            self.answered(answer.to(statement, prepared.columns()), before);
        }
        Ok(rows.unwrap_or_else(|| Rows { columns: Vec::new(), values: Vec::new(), extra: Vec::new() }))
    }

    async fn prepare(&mut self, statement: &str) -> Result<Statement, Error> {
        if let Some(prepared) = self.prepared.get(statement) {
            return Ok(prepared.clone());
        }
        let connection = self.connection.clone();
        let prepare = async { connection.client().prepare(statement).await.map_err(|error| told(&error)) };
        let prepared = self.behind(prepare).await?;
        if self.prepared.len() < self.limits.prepared_statements {
            self.prepared.insert(statement.to_owned(), prepared.clone());
        }
        Ok(prepared)
    }

    /// Opens a sub-step. Its number names it.
    pub(crate) async fn open_savepoint(&mut self) -> Result<u32, Error> {
        if self.phase == Phase::Outside {
            return Err(Error::Refused(Refusal {
                rule: "no-transaction".into(),
                message: "a savepoint needs a transaction, and the block runs outside of one".into(),
                extra: Vec::new(),
            }));
        }
        if self.savepoints.len() >= self.limits.savepoints {
            return Err(budget("savepoints", format!("more than {} sub-steps are open", self.limits.savepoints)));
        }
        let settled = self.settle().await;
        self.noted(settled)?;
        let number = self.savepoints_opened;
        self.savepoints_opened += 1;
        let sets = self
            .connection
            .send(&format!("savepoint {}; {}", savepoint(number), counters_anyway()))
            .await
            .map_err(|error| told(&error))?;
        self.savepoints.push(OpenSavepoint { number, counters: Counters::read_anyway(&sets), failed: self.failed.clone() });
        Ok(number)
    }

    /// Keeps a sub-step.
    pub(crate) async fn release_savepoint(&mut self, number: u32) -> Result<(), Error> {
        let place = self.place_of(number)?;
        let settled = self.settle().await;
        self.noted(settled)?;
        self.connection.send(&format!("release savepoint {}", savepoint(number))).await.map_err(|error| told(&error))?;
        self.savepoints.truncate(place);
        Ok(())
    }

    /// Undoes a sub-step; nothing if it is closed.
    pub(crate) async fn roll_back_savepoint(&mut self, number: u32) -> Result<(), Error> {
        let Ok(place) = self.place_of(number) else { return Ok(()) };
        let name = savepoint(number);
        // That it failed is undone with the rest.
        let _ = self.settle().await;
        // The counters keep what was rolled back: what they gained since is taken out again. A failed transaction cannot be
        // asked before it is rolled back, and counts the same afterwards.
        let undo = format!("rollback to savepoint {name}; release savepoint {name}; {}", counters_anyway());
        let sets = self.connection.send(&undo).await.map_err(|error| told(&error))?;
        let now = Counters::read_anyway(&sets);
        if let Some(opened) = self.savepoints.get(place) {
            self.failed = opened.failed.clone();
            let undone = now.since(&opened.counters);
            self.counters.absorb(&undone);
            // Those around it must not count it once more when they are rolled back themselves.
            self.savepoints.iter_mut().take(place).for_each(|outer| outer.counters.absorb(&undone));
        }
        self.savepoints.truncate(place);
        Ok(())
    }

    fn place_of(&self, number: u32) -> Result<usize, Error> {
        self.savepoints.iter().position(|open| open.number == number).ok_or_else(|| {
            Error::Refused(Refusal { rule: "savepoint".into(), message: "the sub-step is closed".into(), extra: Vec::new() })
        })
    }
}

fn savepoint(number: u32) -> String {
    format!("plinth_step_{number}")
}

fn budget(limit: &str, message: String) -> Error {
    Error::Budget(BudgetError { limit: limit.to_owned(), message, extra: Vec::new() })
}

fn misfit(misfit: Misfit) -> Error {
    Error::Value(ValueError { parameter: misfit.parameter, column: None, message: misfit.message, extra: Vec::new() })
}

/// A database's error in the contract's words.
pub(crate) fn told(error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        return Error::Other(Refusal { rule: "connection".into(), message, extra: Vec::new() });
    };
    let position = match db.position() {
        Some(ErrorPosition::Original(at)) => Some(*at),
        _ => None,
    };
    Error::Database(DatabaseError {
        sqlstate: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: db.detail().map(str::to_owned),
        hint: db.hint().map(str::to_owned),
        schema: db.schema().map(str::to_owned),
        table: db.table().map(str::to_owned),
        column: db.column().map(str::to_owned),
        constraint: db.constraint().map(str::to_owned),
        position,
        extra: Vec::new(),
    })
}
