//! The engine: one for all blocks of a host, with a ticker that makes time pass for guests.

use super::{
    Limits,
    cache::{Cache, CacheError},
    guest::Guest,
};
use crate::{
    contract::Rights,
    load::{self, Digest},
};
use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
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
    /// What compiled code must have been made by: engine version, its settings, this processor.
    made_by: u64,
    kept: Arc<Mutex<Kept>>,
}

/// The most compiled code that is kept for another run of the same block: a batch of a backfill, the end of a boot. A block takes some
/// hundred kilobytes.
const KEPT: usize = 32 << 20;

/// What was compiled, oldest first. A slot is filled by whoever comes first; who comes second waits for that.
#[derive(Default)]
struct Kept(VecDeque<(Digest, Slot)>);

type Slot = Arc<OnceLock<Result<Component, String>>>;

impl Kept {
    fn slot(&mut self, of: &Digest) -> Slot {
        if let Some((_, slot)) = self.0.iter().find(|(digest, _)| digest == of) {
            return slot.clone();
        }
        let slot = Arc::new(OnceLock::new());
        self.0.push_back((*of, slot.clone()));
        slot
    }

    /// Drops the oldest that are one too many, and what could not be compiled.
    fn tidy(&mut self) {
        self.0.retain(|(_, slot)| !matches!(slot.get(), Some(Err(_))));
        let size = |slot: &Slot| match slot.get() {
            Some(Ok(component)) => {
                let code = component.image_range();
                (code.end as usize).saturating_sub(code.start as usize)
            }
            _ => 0,
        };
        let mut all: usize = self.0.iter().map(|(_, slot)| size(slot)).sum();
        while all > KEPT && self.0.len() > 1 {
            let Some((_, oldest)) = self.0.pop_front() else { return };
            all = all.saturating_sub(size(&oldest));
        }
    }
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
        // Nobody looks at places in a block's code: a trap is told by its kind. An eighth of the code that is kept, checked and loaded.
        config.generate_address_map(false);
        config.native_unwind_info(false);
        // What a block has no use for is not there to be attacked.
        config.wasm_memory64(false);
        config.wasm_multi_memory(false);
        config.wasm_relaxed_simd(false);
        let engine = Engine::new(&config).map_err(CacheError::Engine)?;
        let mut linker = Linker::new(&engine);
        Rights::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(CacheError::Engine)?;
        tick(engine.weak());
        let mut hasher = std::hash::DefaultHasher::new();
        // What is checked in another way is compiled anew.
        ("blake3", engine.precompile_compatibility_hash()).hash(&mut hasher);
        let made_by = hasher.finish();
        let cache = cache.map(|folder| Cache::open(folder, made_by)).transpose()?;
        Ok(Sandbox { engine, linker: Arc::new(linker), cache, compile: limits.compile, made_by, kept: Arc::default() })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<Guest> {
        &self.linker
    }

    /// Whether a block need not be waited for.
    pub(crate) fn is_ready(&self, block: &load::Component) -> bool {
        self.kept().0.iter().any(|(digest, slot)| *digest == block.digest && slot.get().is_some())
    }

    /// A component's code: kept, come with it, from the cache, or compiled now. Blocks meanwhile.
    pub(super) fn compile(&self, block: &load::Component) -> Result<Component, String> {
        let slot = self.kept().slot(&block.digest);
        if let Some(done) = slot.get() {
            return done.clone();
        }
        let done = slot.get_or_init(|| self.made(block)).clone();
        self.kept().tidy();
        done
    }

    fn made(&self, block: &load::Component) -> Result<Component, String> {
        let ready = self.brought(block).or_else(|| self.cache.as_ref()?.get(&self.engine, &block.digest));
        if let Some(component) = ready {
            return Ok(component);
        }
        let bytes = block.bytes().map_err(|problem| format!("{} {problem}", block.origin()))?.into_owned();
        let component = self.compile_in_time(bytes).map_err(|error| format!("{error:#}"))?;
        if let Some(cache) = &self.cache {
            cache.put(&block.digest, &component);
        }
        Ok(component)
    }

    /// Code that came with the component.
    fn brought(&self, block: &load::Component) -> Option<Component> {
        let code = block.code(self.made_by)?;
        // SAFETY: the code is whole by its checksum, which ties it to this component and engine, and came in a file that nobody can
        // write who may not change the program as well, or that was signed by a key for bundles: see `Bundle::code`.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(&self.engine, code) };
        component.inspect_err(|error| tracing::warn!(%error, "code in a bundle cannot be used and is made anew")).ok()
    }

    /// Compiles components for a bundle.
    pub(crate) fn compiled<'a>(&self, blocks: impl Iterator<Item = &'a load::Component>) -> Result<load::Compiled, String> {
        let code = |block: &load::Component| {
            let failed = |reason: String| format!("{}: {reason}", block.manifest.id);
            self.compile(block).and_then(|component| component.serialize().map_err(|error| format!("{error:#}"))).map_err(failed)
        };
        Ok(load::Compiled { engine: self.made_by, code: blocks.map(code).collect::<Result<_, _>>()? })
    }

    /// Drops what was kept: the boot is over.
    pub(crate) fn forget(&self) {
        self.kept().0.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
