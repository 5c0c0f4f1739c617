//! A guest's side of the host: what its imports do.

use super::Limits;
use crate::{
    contract::{
        BulkColumn, CursorHandle, Error, Rows, SavepointHandle, Value, bulk, from_contract,
        journal::{self, Level},
        sql, types,
    },
    database::session::Session,
    report::JournalLine,
};
use std::time::{Duration, Instant};
use wasmtime::{
    ResourceLimiter, StoreLimits, StoreLimitsBuilder,
    component::{Resource, ResourceTable},
};

/// All that belongs to one run of one block.
pub(crate) struct Guest {
    pub(super) session: Session,
    pub(super) journal: Journal,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
    resources: ResourceTable,
}

impl Guest {
    pub(super) fn new(session: Session, limits: &Limits) -> Guest {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(limits.handles);
        Guest { session, journal: Journal::new(limits), memory: Memory::new(limits), clock: Clock::new(), resources }
    }
}

/// How long the guest has computed: the time since it was entered, less what it spent waiting for the host.
pub(super) struct Clock {
    entered: Instant,
    waited: Duration,
}

impl Clock {
    fn new() -> Clock {
        Clock { entered: Instant::now(), waited: Duration::ZERO }
    }

    /// The guest is entered from now on.
    pub(super) fn enter(&mut self) {
        *self = Clock::new();
    }

    pub(super) fn computed(&self) -> Duration {
        self.entered.elapsed().saturating_sub(self.waited)
    }
}

impl Guest {
    /// Waits for the database, which is not the guest's time.
    async fn wait<T>(&mut self, work: impl AsyncFnOnce(&mut Session) -> T) -> T {
        let from = Instant::now();
        let done = work(&mut self.session).await;
        self.clock.waited += from.elapsed();
        done
    }
}

/// Bounds what the guest allocates and remembers what it was refused: a trap alone does not say so.
pub(super) struct Memory {
    limits: StoreLimits,
    bytes: usize,
    table_elements: usize,
    refused: Option<String>,
    calls: u64,
    most_calls: u64,
    may_call: bool,
}

impl Memory {
    fn new(limits: &Limits) -> Memory {
        let store = StoreLimitsBuilder::new()
            .memory_size(limits.memory)
            .table_elements(limits.table_elements)
            .instances(limits.instances)
            .memories(1)
            .tables(4)
            .trap_on_grow_failure(true)
            .build();
        Memory {
            limits: store,
            bytes: limits.memory,
            table_elements: limits.table_elements,
            refused: None,
            calls: 0,
            most_calls: limits.calls,
            may_call: true,
        }
    }

    /// Whether the guest may call the host: not while it is made, which may be before its transaction began.
    pub(super) fn may_call(&mut self, may: bool) {
        self.may_call = may;
    }

    /// The guest calls the host.
    fn called(&mut self) -> wasmtime::Result<()> {
        if !self.may_call {
            self.refused = Some("to call the host before it is called itself".to_owned());
            return Err(wasmtime::Error::msg("too early for a call of the host"));
        }
        self.calls += 1;
        if self.calls <= self.most_calls {
            return Ok(());
        }
        self.refused = Some(format!("more calls of the host than its {}", self.most_calls));
        Err(wasmtime::Error::msg("too many calls of the host"))
    }

    /// The limit that the guest ran into, if it did.
    pub(super) fn exhausted(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum);
        if !matches!(allowed, Ok(true)) {
            self.refused = Some(format!("more memory than its {} MiB", self.bytes >> 20));
        }
        allowed
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.table_growing(current, desired, maximum);
        if !matches!(allowed, Ok(true)) {
            self.refused = Some(format!("more table elements than its {}", self.table_elements));
        }
        allowed
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

/// What the guest logged, bounded.
pub(super) struct Journal {
    pub(super) lines: Vec<JournalLine>,
    pub(super) left_out: usize,
    pub(super) panic: Option<String>,
    most_lines: usize,
    most_bytes: usize,
}

impl Journal {
    fn new(limits: &Limits) -> Journal {
        Journal {
            lines: Vec::new(),
            left_out: 0,
            panic: None,
            most_lines: limits.journal_lines,
            most_bytes: limits.journal_line_bytes,
        }
    }

    /// A guest's text as it may be shown: cut, control characters escaped.
    fn shown(&self, text: &str) -> String {
        crate::report::shown(text, self.most_bytes)
    }

    fn log(&mut self, level: &str, message: &str) {
        if self.lines.len() >= self.most_lines {
            self.left_out += 1;
            return;
        }
        let line = JournalLine { level: level.to_owned(), message: self.shown(message) };
        tracing::info!(target: "plinth::block", level = %line.level, "{}", line.message);
        self.lines.push(line);
    }
}

fn values(params: Vec<Value>) -> Vec<plinth_values::Value> {
    params.into_iter().map(from_contract).collect()
}

impl types::Host for Guest {}

impl sql::Host for Guest {
    async fn execute(&mut self, statement: String, params: Vec<Value>) -> wasmtime::Result<Result<u64, Error>> {
        self.memory.called()?;
        Ok(self.wait(async |session| session.execute(statement, values(params)).await).await)
    }

    async fn send(&mut self, statement: String, params: Vec<Value>) -> wasmtime::Result<Result<(), Error>> {
        self.memory.called()?;
        Ok(self.wait(async |session| session.send(statement, values(params)).await).await)
    }

    async fn query(&mut self, statement: String, params: Vec<Value>) -> wasmtime::Result<Result<Rows, Error>> {
        self.memory.called()?;
        Ok(self.wait(async |session| session.query(statement, values(params)).await).await)
    }
}

impl sql::HostSavepoint for Guest {
    async fn open(&mut self) -> wasmtime::Result<Result<Resource<SavepointHandle>, Error>> {
        self.memory.called()?;
        match self.wait(Session::open_savepoint).await {
            Ok(number) => Ok(Ok(self.resources.push(SavepointHandle(number))?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn release(&mut self, savepoint: Resource<SavepointHandle>) -> wasmtime::Result<Result<(), Error>> {
        self.memory.called()?;
        let number = self.resources.get(&savepoint)?.0;
        Ok(self.wait(async |session| session.release_savepoint(number).await).await)
    }

    async fn drop(&mut self, savepoint: Resource<SavepointHandle>) -> wasmtime::Result<()> {
        self.memory.called()?;
        let number = self.resources.delete(savepoint)?.0;
        // A lost connection shows at the next statement, and at the latest at COMMIT.
        if let Err(error) = self.wait(async |session| session.roll_back_savepoint(number).await).await {
            tracing::debug!(?error, "a sub-step could not be rolled back");
        }
        Ok(())
    }
}

impl bulk::Host for Guest {
    async fn describe(&mut self, table: String, columns: Vec<String>) -> wasmtime::Result<Result<Vec<BulkColumn>, Error>> {
        self.memory.called()?;
        Ok(self.wait(async |session| session.describe(&table, &columns).await).await)
    }

    async fn copy_in(&mut self, table: String, columns: Vec<String>, rows: Vec<u8>) -> wasmtime::Result<Result<u64, Error>> {
        self.memory.called()?;
        Ok(self.wait(async |session| session.copy_in(&table, &columns, rows).await).await)
    }
}

impl bulk::HostCursor for Guest {
    async fn open(&mut self, statement: String, params: Vec<Value>) -> wasmtime::Result<Result<Resource<CursorHandle>, Error>> {
        self.memory.called()?;
        match self.wait(async |session| session.open_cursor(statement, values(params)).await).await {
            Ok(number) => Ok(Ok(self.resources.push(CursorHandle(number))?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn columns(&mut self, cursor: Resource<CursorHandle>) -> wasmtime::Result<Vec<BulkColumn>> {
        self.memory.called()?;
        let number = self.resources.get(&cursor)?.0;
        Ok(self.session.cursor_columns(number))
    }

    async fn read(&mut self, cursor: Resource<CursorHandle>, most_bytes: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.memory.called()?;
        let number = self.resources.get(&cursor)?.0;
        Ok(self.wait(async |session| session.read_cursor(number, most_bytes).await).await)
    }

    async fn drop(&mut self, cursor: Resource<CursorHandle>) -> wasmtime::Result<()> {
        self.memory.called()?;
        let number = self.resources.delete(cursor)?.0;
        self.wait(async |session| session.close_cursor(number).await).await;
        Ok(())
    }
}

impl journal::Host for Guest {
    async fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.memory.called()?;
        let name = match level {
            Level::Debug => "debug",
            Level::Info | Level::Other(_) => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        self.journal.log(name, &message);
        Ok(())
    }

    async fn panicked(&mut self, message: String) -> wasmtime::Result<()> {
        self.memory.called()?;
        // `panicked at src/lib.rs:3:4:` and the message stand on lines of their own.
        self.journal.panic = Some(self.journal.shown(&message).replace('\n', " "));
        Ok(())
    }
}
