//! The engine: one for all blocks of a host, with a ticker that makes time pass for guests.

use super::{
    Limits,
    cache::{Cache, CacheError},
    guest::Guest,
};
use crate::{contract::Rights, load::Digest};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};
use wasmtime::{
    Config, Engine, EngineWeak, InstanceAllocationStrategy,
    component::{Component, HasSelf, Linker},
};

/// How often a guest that computes is looked at. Short enough for a deadline, long enough to cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Where blocks run.
#[derive(Clone)]
pub(crate) struct Sandbox {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
    cache: Option<Cache>,
    compile: Duration,
    /// What was compiled last: a backfill's batches run it over and over.
    last: Arc<Mutex<Option<(Digest, Component)>>>,
}

impl Sandbox {
    /// An engine with the rights of a block linked. `cache` is a folder for compiled code.
    ///
    /// # Errors
    ///
    /// If the engine cannot be made on this machine, or the cache's folder cannot be trusted.
    pub(crate) fn new(limits: &Limits, cache: Option<&Path>) -> Result<Sandbox, CacheError> {
        let mut config = Config::new();
        config.wasm_component_model(true);
        config.epoch_interruption(true);
        config.max_wasm_stack(limits.stack);
        config.async_stack_size(limits.stack + (1 << 20));
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        // What a block has no use for is not there to be attacked.
        config.wasm_memory64(false);
        config.wasm_multi_memory(false);
        config.wasm_relaxed_simd(false);
        let engine = Engine::new(&config).map_err(CacheError::Engine)?;
        let mut linker = Linker::new(&engine);
        Rights::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(CacheError::Engine)?;
        tick(engine.weak());
        let cache = cache.map(|folder| Cache::open(folder, &engine)).transpose()?;
        Ok(Sandbox { engine, linker: Arc::new(linker), cache, compile: limits.compile, last: Arc::default() })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<Guest> {
        &self.linker
    }

    /// A component's code: from the cache, or compiled now and kept there.
    pub(super) fn compile(&self, digest: &Digest, bytes: &[u8]) -> Result<Component, wasmtime::Error> {
        if let Some((_, component)) = self.last().as_ref().filter(|(of, _)| of == digest) {
            return Ok(component.clone());
        }
        let component = match self.cache.as_ref().and_then(|cache| cache.get(&self.engine, digest)) {
            Some(component) => component,
            None => {
                let component = self.compile_in_time(bytes.to_vec())?;
                if let Some(cache) = &self.cache {
                    cache.put(digest, &component);
                }
                component
            }
        };
        *self.last() = Some((*digest, component.clone()));
        Ok(component)
    }

    fn last(&self) -> MutexGuard<'_, Option<(Digest, Component)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing can interrupt the compiler, so it has a thread of its own, which is not waited for longer than allowed.
    fn compile_in_time(&self, bytes: Vec<u8>) -> Result<Component, wasmtime::Error> {
        let (done, wait) = mpsc::channel();
        let engine = self.engine.clone();
        let compiler = thread::Builder::new().name("plinth-compiler".into());
        compiler.spawn(move || done.send(Component::from_binary(&engine, &bytes)).ok())?;
        wait.recv_timeout(self.compile).unwrap_or_else(|_| {
            Err(wasmtime::Error::msg(format!("compiling it takes longer than {} s (compile)", self.compile.as_secs_f32())))
        })
    }
}

/// Advances the engine's epoch until the engine is gone.
fn tick(engine: EngineWeak) {
    let ticker = thread::Builder::new().name("plinth-ticker".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
    if let Err(error) = ticker {
        // Guests still end: the wall clock stands outside of them. Endless loops then hold a thread of the runtime.
        tracing::error!(%error, "the thread that interrupts blocks cannot be started");
    }
}
