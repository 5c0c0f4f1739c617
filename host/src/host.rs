//! What an API configures and starts.

use crate::{
    boot::{self, history::History, status::Status, verify::Verification},
    database::Database,
    error::BootError,
    events::{Event, Progress, Teller},
    ledger::{Ledger, ROLE},
    load::{Bundle, Carried, Component, Components, Digest, Keys, LoadError, LockFile},
    lock::LockMode,
    plan::{Baseline, Preview},
    report::{Rehearsal, Report},
    sandbox::{Limits, Sandbox},
};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A host: where the blocks are, which database they run on, and how. Configured, then booted.
///
/// Cheap to clone; clones share the engine and tell the same listeners.
#[derive(Clone)]
pub struct Host {
    pub(crate) database: Database,
    pub(crate) blocks_database: Option<Database>,
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    pub(crate) expected: BTreeSet<String>,
    pub(crate) accepted_removals: BTreeSet<String>,
    pub(crate) build: Option<String>,
    pub(crate) instance: String,
    pub(crate) lock_deadline: Duration,
    pub(crate) lock_mode: LockMode,
    pub(crate) retry_budget: Duration,
    pub(crate) search_path: String,
    pub(crate) teller: Teller,
    pub(crate) shows_values: bool,
    sources: Vec<Source>,
    cache: Option<PathBuf>,
    keys: Option<Arc<Keys>>,
    lock: Option<Lock>,
    /// What [`Host::ready`] loaded.
    #[cfg(feature = "cli")]
    loaded: Option<Components>,
    sandbox: Arc<OnceLock<Sandbox>>,
}

#[derive(Clone)]
enum Source {
    Folder(PathBuf),
    Carried(Carried),
    Bundle(PathBuf),
    CarriedBundle(String, &'static [u8]),
}

/// Where the lock file is.
#[derive(Clone)]
enum Lock {
    File(PathBuf),
    Text(Cow<'static, str>),
}

impl Host {
    /// A host for a database, by [`Database::from_url`] or from a [`tokio_postgres::Config`].
    pub fn new(database: impl Into<Database>) -> Host {
        Host {
            database: database.into(),
            blocks_database: None,
            ledger: Ledger { schema: "plinth".into(), application: "api".into() },
            limits: Limits::default(),
            expected: BTreeSet::new(),
            accepted_removals: BTreeSet::new(),
            build: None,
            instance: instance(),
            lock_deadline: Duration::from_secs(5 * 60),
            lock_mode: LockMode::Auto,
            retry_budget: Duration::from_secs(2 * 60),
            search_path: "public".into(),
            teller: Teller::default(),
            shows_values: false,
            sources: Vec::new(),
            cache: None,
            keys: None,
            lock: None,
            #[cfg(feature = "cli")]
            loaded: None,
            sandbox: Arc::new(OnceLock::new()),
        }
    }

    /// The same database, as the role that blocks run under. It cannot write the ledger, whatever a block's SQL does; see
    /// [`Host::roles`]. Without one, blocks run as the host itself.
    #[must_use]
    pub fn blocks_as(mut self, database: impl Into<Database>) -> Host {
        self.blocks_database = Some(database.into());
        // A block could otherwise define what our own statements call.
        self.database = self.database.fixed_path();
        self
    }

    /// The statements that set a role for blocks up: the one of [`Host::blocks_as`], or `plinth_blocks`. They are for the role of the
    /// host's own, which must be allowed to create roles. With `password`, that of the role's address is set too.
    pub fn roles(&self, password: bool) -> String {
        let database = self.blocks_database.as_ref();
        let role = database.map_or_else(|| ROLE.to_owned(), boot::roles::role);
        let schemas: Vec<String> = self.search_path.split(',').map(|schema| schema.trim().to_owned()).collect();
        self.ledger.roles(&role, database.and_then(Database::password).filter(|_| password), &schemas)
    }

    /// Sets the role for blocks up, and the ledger with it.
    ///
    /// # Errors
    ///
    /// If the host's role may not do that. Then nothing was done.
    pub async fn set_roles_up(&self) -> Result<(), BootError> {
        boot::roles::set_up(self).await
    }

    /// Whether blocks have a role of their own, and it cannot write the ledger.
    pub async fn roles_are_set_up(&self) -> bool {
        self.blocks_database.is_some() && boot::roles::are_set_up(self).await
    }

    /// Adds a folder whose `.wasm` files are the blocks.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Host {
        self.sources.push(Source::Folder(folder.into()));
        self
    }

    /// Adds a component that the program carries: `.component("0066", include_bytes!("0066.wasm").as_slice())`.
    #[must_use]
    pub fn component(self, name: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Host {
        self.carried(name.into(), bytes.into(), None)
    }

    /// The same with the text of its signature, which `plinth sign` writes beside it: for a host with [`Host::keys`].
    ///
    /// ```ignore
    /// host.signed_component("0066", include_bytes!("0066.wasm").as_slice(), include_str!("0066.wasm.sig"))
    /// ```
    #[must_use]
    pub fn signed_component(
        self,
        name: impl Into<String>,
        bytes: impl Into<Cow<'static, [u8]>>,
        signature: impl Into<Cow<'static, str>>,
    ) -> Host {
        self.carried(name.into(), bytes.into(), Some(signature.into()))
    }

    fn carried(mut self, name: String, bytes: Cow<'static, [u8]>, signature: Option<Cow<'static, str>>) -> Host {
        self.sources.push(Source::Carried(Carried { name, bytes, signature }));
        self
    }

    /// Adds a bundle, one file with all blocks, as `plinth bundle` makes it.
    #[must_use]
    pub fn bundle(mut self, file: impl Into<PathBuf>) -> Host {
        self.sources.push(Source::Bundle(file.into()));
        self
    }

    /// Adds a bundle that the program carries: `.carried_bundle("app", include_bytes!("app.plinth"))`. For a host with [`Host::keys`] the
    /// signatures of its blocks come with it.
    #[must_use]
    pub fn carried_bundle(mut self, name: impl Into<String>, bundle: &'static [u8]) -> Host {
        self.sources.push(Source::CarriedBundle(name.into(), bundle));
        self
    }

    /// Insists that every component, of a folder or carried by the program, is signed by a key of its block's team, or its bundle by a
    /// key for bundles.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Host {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Insists on exactly the blocks that a lock file names, by id and digest, wherever they come from: see
    /// [`Components::lock_file`].
    #[must_use]
    pub fn locked(mut self, lock_file: impl Into<PathBuf>) -> Host {
        self.lock = Some(Lock::File(lock_file.into()));
        self
    }

    /// The same by the text of a lock file that the program carries: `.locked_to(include_str!("plinth.lock"))`.
    #[must_use]
    pub fn locked_to(mut self, lock_file: impl Into<Cow<'static, str>>) -> Host {
        self.lock = Some(Lock::Text(lock_file.into()));
        self
    }

    /// Names blocks that the build ships. A boot without one of them is refused before the first statement.
    #[must_use]
    pub fn expect<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Host {
        self.expected.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Accepts that components are gone although something needs them or their work was never done.
    #[must_use]
    pub fn accept_removal<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Host {
        self.accepted_removals.extend(ids.into_iter().map(Into::into));
        self
    }

    /// The build of the API, as ledger and report show it.
    #[must_use]
    pub fn build(mut self, label: impl Into<String>) -> Host {
        self.build = Some(label.into());
        self
    }

    /// The application, `api` by default. Applications with one ledger neither see nor wait for each other.
    #[must_use]
    pub fn application(mut self, name: impl Into<String>) -> Host {
        self.ledger.application = name.into();
        self
    }

    /// The schema of the ledger, `plinth` by default.
    #[must_use]
    pub fn ledger_schema(mut self, schema: impl Into<String>) -> Host {
        self.ledger.schema = schema.into();
        self
    }

    /// The `search_path` of blocks, `public` by default, as SET takes it.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<String>) -> Host {
        self.search_path = path.into();
        self
    }

    /// Passes on what PostgreSQL says about rows in an error, to blocks, report and ledger: its DETAIL, and the value that a message
    /// quotes. By default it stays in the database, since rows may hold people's data.
    #[must_use]
    pub fn show_values(mut self) -> Host {
        self.shows_values = true;
        self
    }

    /// What blocks may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Host {
        self.limits = limits;
        // The engine was made with the limits there were.
        self.sandbox = Arc::new(OnceLock::new());
        self
    }

    /// How long to wait for another replica, five minutes by default.
    #[must_use]
    pub fn lock_deadline(mut self, deadline: Duration) -> Host {
        self.lock_deadline = deadline;
        self
    }

    /// How the lock is held. By default found out: by a session lock, or by a lease if a pooler stands between.
    #[must_use]
    pub fn lock(mut self, mode: LockMode) -> Host {
        self.lock_mode = mode;
        self
    }

    /// How much time a boot may lose, all in all, to failures that may pass: a server that restarts, a lost connection, a
    /// deadlock, a lock that is not to be had. Two minutes by default; zero tries nothing again.
    #[must_use]
    pub fn retry_for(mut self, budget: Duration) -> Host {
        self.retry_budget = budget;
        self
    }

    /// A folder for compiled code; made private if it is not there. Without one, what runs is compiled at every boot.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Host {
        self.cache = Some(folder.into());
        self.sandbox = Arc::new(OnceLock::new());
        self
    }

    /// Runs what is pending, and every rule, on a thread of its own. Dropped before it is done, it leaves as [`Host::boot_until`] does,
    /// and nobody waits for that.
    ///
    /// # Errors
    ///
    /// [`BootError`]. What was committed stays; the block that failed left nothing behind. The report of what was done is in
    /// the error.
    pub async fn boot(&self) -> Result<Report, BootError> {
        self.boot_until(std::future::pending()).await
    }

    /// Like [`Host::boot`], until `stop` is done: then the running statement is cancelled, what is not committed is rolled
    /// back, the lock is released, and [`BootError::Interrupted`] is returned. For Ctrl-C and SIGTERM.
    ///
    /// # Errors
    ///
    /// As [`Host::boot`].
    pub async fn boot_until(&self, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
        boot::boot_until(self, stop).await
    }

    /// Runs the backfills that say `when = "background"` and are not done yet, one after the other, each under a lock of its own. For a
    /// task beside the API: [`Host::boot`] leaves them, and the API listens while they go on. What waits for them runs at the next boot.
    /// Events and progress are the host's; one that may boot again meanwhile gives them a second host, to tell the two apart.
    ///
    /// ```no_run
    /// # async fn start(host: plinth::Host) -> Result<(), plinth::BootError> {
    /// host.boot().await?;
    /// tokio::spawn(async move {
    ///     if let Err(error) = host.background().await {
    ///         eprintln!("{error}");
    ///     }
    /// });
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Host::boot`]. Batches that were committed stay; the next run goes on after them.
    pub async fn background(&self) -> Result<Report, BootError> {
        self.background_until(std::future::pending()).await
    }

    /// Like [`Host::background`], until `stop` is done: then the running batch is cancelled and rolled back.
    ///
    /// # Errors
    ///
    /// As [`Host::background`], and [`BootError::Interrupted`].
    pub async fn background_until(&self, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
        boot::backfill::background::background_until(self, stop).await
    }

    /// What [`Host::boot`] would do, from manifests, ledger and catalog. Changes nothing and runs no block.
    ///
    /// # Errors
    ///
    /// [`BootError`], as far as it can be known before.
    pub async fn plan(&self) -> Result<Preview, BootError> {
        boot::preview::preview(self).await
    }

    /// Adopts a database where things exist already: records every migration as applied whose provided objects are all there,
    /// by definition. Runs no block. A migration that provides nothing is adopted only if `assumed` names it.
    ///
    /// # Errors
    ///
    /// [`BootError`]; then nothing was recorded. That something is not as declared is no error: it stays pending.
    pub async fn baseline(&self, assumed: &[&str]) -> Result<Baseline, BootError> {
        boot::baseline::baseline(self, assumed.iter().map(|id| (*id).to_owned()).collect()).await
    }

    /// Runs everything that [`Host::boot`] would run, in one transaction that is rolled back, and tells what it did: rows, objects,
    /// locks and their times, every statement with the planner's estimate, squawk's findings. Takes no boot lock, and for its time
    /// the table locks that the blocks take. Sequences that advanced stay advanced.
    ///
    /// # Errors
    ///
    /// [`BootError`], as far as it can be known before. A block that fails is no error here: [`Rehearsal::passed`] says so.
    pub async fn rehearse(&self) -> Result<Rehearsal, BootError> {
        self.rehearse_until(std::future::pending()).await
    }

    /// Like [`Host::rehearse`], until `stop` is done: then the running statement is cancelled and everything rolled back.
    ///
    /// # Errors
    ///
    /// As [`Host::rehearse`], and [`BootError::Interrupted`].
    pub async fn rehearse_until(&self, stop: impl Future<Output = ()>) -> Result<Rehearsal, BootError> {
        boot::rehearse::rehearse_until(self, stop).await
    }

    /// Where the boot stands, at any time and as often as one likes: for a health endpoint that answers while the boot runs.
    ///
    /// ```no_run
    /// # fn serve(host: &plinth::Host) -> Result<String, serde_json::Error> {
    /// let progress = host.progress();
    /// // In the handler of GET /health:
    /// let now = progress.borrow().clone();
    /// serde_json::to_string(&now) // {"stage":"running","block":"0066_…","block_seconds":1.2,"statement":3,…}
    /// # }
    /// ```
    pub fn progress(&self) -> tokio::sync::watch::Receiver<Progress> {
        self.teller.progress()
    }

    /// What happens from here on, as it happens. A listener that falls more than a thousand events behind misses the oldest.
    ///
    /// ```no_run
    /// # async fn listen(host: plinth::Host) {
    /// let mut events = host.events();
    /// tokio::spawn(async move { host.boot().await });
    /// while let Ok(event) = events.recv().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.teller.events()
    }

    /// What the ledger knows of every block.
    ///
    /// # Errors
    ///
    /// If the database or the ledger cannot be read.
    pub async fn status(&self) -> Result<Status, BootError> {
        boot::status::status(self).await
    }

    /// The last boots, newest first, with what each block did; and for each rule, what speaks for and against its removal.
    ///
    /// # Errors
    ///
    /// If the database or the ledger cannot be read.
    pub async fn history(&self, boots: u32) -> Result<History, BootError> {
        boot::history::history(self, boots).await
    }

    /// Looks at the post-conditions of all blocks that were applied, and at the definitions of what they provide, read-only.
    ///
    /// # Errors
    ///
    /// If components cannot be loaded or the database cannot be read. A condition that does not hold is no error here.
    pub async fn verify(&self) -> Result<Verification, BootError> {
        boot::verify::verify(self).await
    }

    /// Loads the components. Reads files; compiles nothing.
    ///
    /// # Errors
    ///
    /// All problems of all files at once.
    pub fn load(&self) -> Result<Components, BootError> {
        #[cfg(feature = "cli")]
        if let Some(loaded) = &self.loaded {
            return Ok(loaded.clone());
        }
        let mut all = Components::default();
        let mut carried = Vec::new();
        for source in &self.sources {
            match source {
                Source::Folder(folder) => {
                    all = all.and(Components::from_signed_folder(folder, self.limits.component_bytes, self.trusted_keys())?)?
                }
                Source::Carried(component) => carried.push(component.clone()),
                Source::Bundle(path) => all = all.and(self.bundled(&Bundle::open(path)?)?)?,
                Source::CarriedBundle(name, bytes) => all = all.and(self.bundled(&Bundle::carried(name, bytes)?)?)?,
            }
        }
        if !carried.is_empty() {
            let carried = Components::from_carried(carried, self.limits.component_bytes, self.trusted_keys())?;
            all = all.and(carried)?;
        }
        let origin = |id: &str| all.iter().find(|one| *one.manifest.id == *id).map_or_else(String::new, Component::origin);
        self.check_lock(all.iter().map(|component| (&*component.manifest.id, component.digest)), origin)?;
        Ok(all)
    }

    fn bundled(&self, bundle: &Bundle) -> Result<Components, LoadError> {
        Components::from_bundle(bundle, self.limits.component_bytes, self.trusted_keys())
    }

    /// Holds ids and digests against the lock file, if there is to be one.
    pub(crate) fn check_lock<'a>(
        &self,
        blocks: impl Iterator<Item = (&'a str, Digest)>,
        origin: impl Fn(&str) -> String,
    ) -> Result<(), LoadError> {
        let (name, text) = match &self.lock {
            None => return Ok(()),
            Some(Lock::File(path)) => (path.display().to_string(), std::fs::read_to_string(path).map(Cow::Owned)),
            Some(Lock::Text(text)) => ("the lock file that the program carries".to_owned(), Ok(Cow::Borrowed(&**text))),
        };
        LockFile::read(&name, text)?.check(&name, blocks, origin)
    }

    /// The folder that all blocks come from, if they do.
    pub(crate) fn only_folder(&self) -> Option<&Path> {
        match self.sources.as_slice() {
            [Source::Folder(folder)] => Some(folder),
            _ => None,
        }
    }

    /// The bundle that all blocks come from, if they do and are not in memory already.
    pub(crate) fn only_bundle(&self) -> Result<Option<Bundle>, LoadError> {
        #[cfg(feature = "cli")]
        if self.loaded.is_some() {
            return Ok(None);
        }
        match self.sources.as_slice() {
            [Source::Bundle(path)] => Bundle::open(path).map(Some),
            [Source::CarriedBundle(name, bytes)] => Bundle::carried(name, bytes).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn trusted_keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    /// Writes the blocks as a bundle, in the order in which they run, and returns how many they are. The same blocks give the same bytes.
    /// `compile` puts code for this processor into it as well, which a boot uses if the bundle is trusted: a file of its own user or of
    /// the administrator that nobody else can write, one that is signed by a key for bundles, or a part of the program.
    ///
    /// # Errors
    ///
    /// What is wrong with the blocks or their order, what cannot be compiled, or that the file cannot be written.
    pub fn write_bundle(&self, file: &Path, compile: bool) -> Result<usize, BootError> {
        boot::loaded::bundle(self, file, compile)
    }

    /// The same, with everything read that a boot reads: from here on it opens no file.
    #[cfg(feature = "cli")]
    pub(crate) fn ready(mut self) -> Result<Host, BootError> {
        self.loaded = Some(self.load()?.in_memory()?);
        self.database = self.database.ready()?;
        self.blocks_database = self.blocks_database.map(Database::ready).transpose()?;
        Ok(self)
    }

    /// The engine, made when the first block runs.
    pub(crate) fn sandbox(&self) -> Result<Sandbox, BootError> {
        if let Some(sandbox) = self.sandbox.get() {
            return Ok(sandbox.clone());
        }
        let made = Sandbox::new(&self.limits, self.cache.as_deref())?;
        Ok(self.sandbox.get_or_init(|| made).clone())
    }

    /// Gives the memory of compiled code back.
    pub(crate) fn forget_code(&self) {
        if let Some(sandbox) = self.sandbox.get() {
            sandbox.forget();
        }
    }

    /// The name that the server shows for our connections.
    pub(crate) fn connection_name(&self) -> String {
        format!("plinth {} {}", self.ledger.application, self.instance)
    }

    /// The folder for compiled code.
    pub fn cache_folder(&self) -> Option<&Path> {
        self.cache.as_deref()
    }
}

/// Which of the replicas this is: the machine's name and the process.
fn instance() -> String {
    let machine = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    format!("{}/{}", machine.as_deref().map_or("?", str::trim), std::process::id())
}
