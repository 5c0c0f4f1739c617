//! One run of one block: a store of its own, dropped after it.

use super::{Limits, Sandbox, guest::Guest};
use crate::{
    contract::{Batch, Check, Error, Failure, Outcome, Stepped as ContractStepped, exported_by},
    database::session::{FailedStatement, Session},
    report::JournalLine,
};
use plinth_manifest::Kind;
use std::time::{Duration, Instant};
use wasmtime::{
    Store, StoreContextMut, Trap, UpdateDeadline,
    component::{Component, ComponentNamedList, ComponentType, Instance, Lift, Lower, TypedFunc},
};

/// A component, compiled.
pub(crate) struct Block {
    component: Component,
    kind: Kind,
}

/// How the block's work ended, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done(Option<String>),
    Deferred(String),
}

/// How a batch of a backfill ended, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// There is more to do after the cursor. With how far the work has come and of how much, as the block counts.
    More {
        cursor: String,
        progress: Option<(u64, Option<u64>)>,
    },
    Ended(Ended),
}

/// Why a block did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlockError {
    /// It gave up.
    #[error("{message}")]
    GaveUp { message: String, cause: Option<Box<Error>> },
    /// It broke a rule of the sandbox, or its own code broke.
    #[error("{0}")]
    Trapped(String),
    /// It took too long, all in all.
    #[error("the block took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// It is no component that this host can run.
    #[error("the component cannot be run: {0}")]
    Unrunnable(String),
}

impl Sandbox {
    /// Compiles a block, or takes its code from where it is already.
    pub(crate) fn block(&self, block: &crate::load::Component) -> Result<Block, BlockError> {
        let component = self.compile(block).map_err(BlockError::Unrunnable)?;
        Ok(Block { component, kind: block.manifest.kind })
    }

    /// Starts a block on a session. Nothing of the guest runs before the first call.
    pub(crate) fn start(&self, block: &Block, session: Session, limits: &Limits, wall: Duration) -> Running {
        let mut store = Store::new(self.engine(), Guest::new(session, limits));
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        // Called while the guest computes, at most once a tick. It yields, so that the clock on the wall is looked at too.
        let most = limits.cpu;
        store.epoch_deadline_callback(move |guest: StoreContextMut<'_, Guest>| {
            Ok(if guest.data().clock.computed() > most { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        let interface = exported_by(block.kind);
        let exported =
            block.component.component_type().exports(self.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        let interface = exported.into_iter().find(|name| crate::load::is_interface(name, interface));
        Running {
            store,
            component: block.component.clone(),
            kind: block.kind,
            interface,
            instance: None,
            broken: None,
            started: None,
            wall,
            cpu: limits.cpu,
            message_bytes: limits.message_bytes,
            sandbox: self.clone(),
        }
    }
}

/// A block that runs.
pub(crate) struct Running {
    store: Store<Guest>,
    component: Component,
    kind: Kind,
    interface: Option<String>,
    instance: Option<Instance>,
    /// Why there is none.
    broken: Option<wasmtime::Error>,
    /// When it was called first: it may have been made ready long before.
    started: Option<Instant>,
    wall: Duration,
    cpu: Duration,
    message_bytes: usize,
    sandbox: Sandbox,
}

impl Running {
    /// The block's work: `apply` or `reconcile`. What it sent and did not wait for is waited for with its post-conditions.
    pub(crate) async fn work(&mut self) -> Result<Ended, BlockError> {
        let export = match self.kind {
            Kind::Migration => "apply",
            Kind::Rule => "reconcile",
            Kind::Backfill => return Err(BlockError::Unrunnable("a backfill works in batches".into())),
        };
        match self.call::<(), Outcome>(export, ()).await? {
            Outcome::Done(text) => Ok(Ended::Done(text.map(|text| crate::report::shown(&text, self.message_bytes)))),
            Outcome::Deferred(reason) => Ok(Ended::Deferred(crate::report::shown(&reason, self.message_bytes))),
            Outcome::Other(other) => {
                Err(BlockError::Unrunnable(format!("it ended in a way that this host does not know: {}", other.type_name)))
            }
        }
    }

    /// One batch of a backfill, after a cursor and of at most so many rows.
    pub(crate) async fn step(&mut self, cursor: Option<&str>, rows: u64) -> Result<Stepped, BlockError> {
        let params = (cursor.map(str::to_owned), Batch { rows, extra: Vec::new() });
        let stepped = self.call::<_, ContractStepped>("step", params).await?;
        self.catch_up().await?;
        match stepped {
            ContractStepped::More(position) if position.cursor.len() > CURSOR || position.cursor.contains('\0') => {
                let found =
                    format!("the block's cursor has {} bytes: it has at most {CURSOR}, and no NUL", position.cursor.len());
                Err(BlockError::GaveUp { message: found, cause: None })
            }
            ContractStepped::More(position) => Ok(Stepped::More {
                cursor: position.cursor,
                progress: position.progress.map(|progress| (progress.done, progress.total)),
            }),
            ContractStepped::Done(text) => {
                Ok(Stepped::Ended(Ended::Done(text.map(|text| crate::report::shown(&text, self.message_bytes)))))
            }
            ContractStepped::Deferred(reason) => {
                Ok(Stepped::Ended(Ended::Deferred(crate::report::shown(&reason, self.message_bytes))))
            }
            ContractStepped::Other(other) => {
                Err(BlockError::Unrunnable(format!("it ended in a way that this host does not know: {}", other.type_name)))
            }
        }
    }

    /// The block's post-conditions.
    pub(crate) async fn verify(&mut self) -> Result<Vec<Check>, BlockError> {
        let checks = self.call::<(), Vec<Check>>("verify", ()).await?;
        self.catch_up().await?;
        Ok(checks)
    }

    /// Waits for what the block sent. That it failed is the session's to tell.
    async fn catch_up(&mut self) -> Result<(), BlockError> {
        let (left, wall) = (self.left(), self.wall);
        tokio::time::timeout(left, self.store.data_mut().session.catch_up_unheard()).await.map_err(|_| BlockError::Timeout(wall))
    }

    /// How long it may take from now on.
    fn left(&self) -> Duration {
        self.wall.saturating_sub(self.started.map_or(Duration::ZERO, |started| started.elapsed()))
    }

    /// The statements that the block sent so far.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.store.data_mut().session
    }

    /// The statement that failed, or the one that ran when the block did.
    pub(crate) fn failed(&self) -> Option<FailedStatement> {
        self.store.data().session.failed().cloned()
    }

    /// What the block logged.
    pub(crate) fn journal(&self) -> Vec<JournalLine> {
        let journal = &self.store.data().journal;
        let mut lines = journal.lines.clone();
        if journal.left_out > 0 {
            lines
                .push(JournalLine { level: "warning".into(), message: format!("{} more lines were left out", journal.left_out) });
        }
        lines
    }

    async fn call<P, T>(&mut self, export: &str, params: P) -> Result<T, BlockError>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        Result<T, Failure>: ComponentType + Lift + Send + Sync + 'static,
        T: 'static,
    {
        self.started.get_or_insert_with(Instant::now);
        let left = self.left();
        let (wall, most) = (self.wall, self.message_bytes);
        let called = tokio::time::timeout(left, self.enter::<P, T>(export, params)).await;
        let stopped = !matches!(called, Ok(Ok(Ok(_))));
        let session = &mut self.store.data_mut().session;
        let ended = tokio::time::timeout(ENDED, session.end_of_call(stopped)).await;
        match called {
            _ if ended.is_err() => Err(BlockError::Timeout(wall)),
            Err(_) => Err(BlockError::Timeout(wall)),
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(failure))) => Err(BlockError::GaveUp {
                message: crate::report::shown(&failure.message, most),
                cause: failure.cause.map(Box::new),
            }),
            Ok(Err(error)) => Err(self.explain(&error)),
        }
    }

    /// Makes its instance, as the first call does otherwise; what is wrong with it is told there. A component may run code of its own
    /// for that, which calls nothing of the host.
    pub(crate) async fn instantiate(&mut self) {
        if let Err(error) = self.made().await {
            self.broken = Some(error);
        }
    }

    async fn made(&mut self) -> wasmtime::Result<Instance> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if let Some(instance) = self.instance {
            return Ok(instance);
        }
        let guest = self.store.data_mut();
        guest.clock.enter();
        guest.memory.may_call(false);
        let instance = self.sandbox.linker().instantiate_async(&mut self.store, &self.component).await?;
        self.store.data_mut().memory.may_call(true);
        Ok(*self.instance.insert(instance))
    }

    async fn enter<P, T>(&mut self, export: &str, params: P) -> wasmtime::Result<Result<T, Failure>>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        Result<T, Failure>: ComponentType + Lift + Send + Sync + 'static,
    {
        let instance = self.made().await?;
        self.store.data_mut().clock.enter();
        let interface = self.interface.as_deref().unwrap_or_default();
        let missing = || wasmtime::Error::msg(format!("it does not export {interface}.{export}"));
        let interface_index = instance.get_export_index(&mut self.store, None, interface).ok_or_else(missing)?;
        let index = instance.get_export_index(&mut self.store, Some(&interface_index), export).ok_or_else(missing)?;
        let function: TypedFunc<P, (Result<T, Failure>,)> = instance.get_typed_func(&mut self.store, index)?;
        let (result,) = function.call_async(&mut self.store, params).await?;
        Ok(result)
    }

    /// Names what stopped the guest. See the table of traps in docs/ARCHITECTURE.md.
    fn explain(&self, error: &wasmtime::Error) -> BlockError {
        let guest = self.store.data();
        if let Some(more) = guest.memory.exhausted() {
            return BlockError::Trapped(format!("the block wanted {more}"));
        }
        if let Some(panic) = &guest.journal.panic {
            return BlockError::Trapped(format!("the block panicked: {panic}"));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                BlockError::Trapped(format!("the block computed for longer than {} s", self.cpu.as_secs_f32()))
            }
            Some(Trap::StackOverflow) => BlockError::Trapped("the block's stack overflowed: it recurses too deep".into()),
            Some(Trap::MemoryOutOfBounds) => {
                BlockError::Trapped("the block reached beyond its memory: its stack overflowed, or its code is broken".into())
            }
            Some(trap) => BlockError::Trapped(format!("the block's code broke: {trap}")),
            None if self.instance.is_none() => {
                BlockError::Unrunnable(crate::report::shown(&format!("{error:#}"), self.message_bytes))
            }
            None => BlockError::Trapped(format!(
                "the block broke its contract: {}",
                crate::report::shown(&format!("{error:#}"), self.message_bytes)
            )),
        }
    }
}

/// How long what a block still has on its way to the server may take once it came to its end.
const ENDED: Duration = Duration::from_secs(60);
/// The most of a cursor, in bytes: it is kept with every batch.
const CURSOR: usize = 4_096;
