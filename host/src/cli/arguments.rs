//! What the command understands.

use crate::{Database, Host, KeyError, Keys, Limits, LockMode};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

/// Schema changes that an API applies to PostgreSQL when it starts, as sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(
    name = "plinth",
    version,
    after_help = "Exit codes: 0 done; 1 a block or the database failed; 2 wrong usage or input; 3 (plan, status, baseline) something is pending or deferred, (compare) something differs; 130 interrupted. After `run … -- COMMAND` its own; 126 or 127 if it cannot be started."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Say more on standard error; twice for even more. PLINTH_LOG takes a filter, such as plinth=debug
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run what is pending, then every rule, and report what the database says they did
    Run {
        #[command(flatten)]
        shared: Shared,
        /// The build of the API that boots, for ledger and report
        #[arg(long, env = "PLINTH_BUILD", value_name = "LABEL")]
        build: Option<String>,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// How long to wait for another replica that boots, in seconds
        #[arg(long, env = "PLINTH_LOCK_TIMEOUT", value_name = "SECONDS", default_value = "300", value_parser = seconds)]
        lock_timeout: Duration,
        /// How much time to lose, in seconds, to what may pass: a restarting server, a lost connection, a deadlock; 0 for none
        #[arg(long, env = "PLINTH_RETRY_FOR", value_name = "SECONDS", default_value = "120", value_parser = seconds_or_none)]
        retry_for: Duration,
        /// Run the boot in a process of its own that reaches the database and nothing else: no file, no other socket, no program.
        /// It keeps no compiled code, so that what runs is compiled at every boot
        #[arg(long, env = "PLINTH_ISOLATE", value_parser = clap::builder::FalseyValueParser::new())]
        isolate: bool,
        /// After a boot that did not fail, become this command: same process, so signals and exit code are its own.
        /// What the boot did is then told on standard error
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Run the backfills that boots leave for later, until they are done; a kill loses one batch
    Backfill {
        #[command(flatten)]
        shared: Shared,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Tell the order and what would run, from ledger and catalog; changes nothing
    Plan {
        #[command(flatten)]
        shared: Shared,
        /// Run everything in one transaction that is rolled back, and tell rows, locks, times and findings
        #[arg(long)]
        run: bool,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
        format: PlanFormat,
    },
    /// Adopt a database where things exist already: record migrations as applied whose objects are there; runs no block
    Baseline {
        #[command(flatten)]
        shared: Shared,
        /// A migration that provides nothing to look at and was applied here (repeatable)
        #[arg(long, value_name = "ID")]
        assume: Vec<String>,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// How long to wait for a boot that runs, in seconds
        #[arg(long, env = "PLINTH_LOCK_TIMEOUT", value_name = "SECONDS", default_value = "300", value_parser = seconds)]
        lock_timeout: Duration,
    },
    /// Tell every block's last outcome, from the ledger
    Status {
        #[command(flatten)]
        shared: Shared,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Print what gives blocks a role of their own, which cannot write the ledger whatever their SQL does; needs the owner's role
    Setup {
        #[command(flatten)]
        shared: Shared,
        /// The role, its rights, the objects that it takes over, and the ledger's door
        #[arg(long, required = true)]
        roles: bool,
        /// Do it
        #[arg(long)]
        apply: bool,
    },
    /// Look at the post-conditions of all applied blocks and at what they provide, read-only
    Verify {
        #[command(flatten)]
        shared: Shared,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Make a block's crate that builds and whose tests pass
    New(super::new::NewArguments),
    /// Test a block alone, on a PostgreSQL of its own: run, run again without effect, kills, two at once, effects against the manifest
    Test(super::test::TestArguments),
    /// Make a component of a file with SQL, without any toolchain; or give one that was made in another language its manifest
    Pack(super::pack::PackArguments),
    /// Build the components of a block's crate, or of a folder of crates
    Build(super::build::BuildArguments),
    /// Put the components of a folder into one file, in the order in which they run: a boot reads its index and what runs
    Bundle(super::bundle::BundleArguments),
    /// Put code for this machine's kind of processor into a bundle, so that a boot compiles nothing
    Compile(super::bundle::CompileArguments),
    /// Tell which blocks were added (+), removed (-) or changed (~) between two bundles or folders; exit code 3 if any was
    Compare(super::bundle::CompareArguments),
    /// Write the components of a bundle into a folder, a file per block
    Unpack(super::bundle::UnpackArguments),
    /// Write the lock file of a folder of components: what `--locked` insists on; needs no database
    Lock {
        /// The folder with the components, a file per block
        #[arg(long, env = "PLINTH_BLOCKS", value_name = "DIR", default_value = "blocks")]
        blocks: PathBuf,
        /// The lock file [default: plinth.lock in the folder]
        #[arg(long, value_name = "FILE")]
        lock_file: Option<PathBuf>,
    },
    /// Make a key to sign blocks with, and print its public half for the keys file
    Key {
        /// The file for the secret half
        file: PathBuf,
    },
    /// Sign components, or bundles as a whole: write FILE.sig beside each
    Sign {
        /// The key that `plinth key` made
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The components, or bundles
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Serve a page for operators: boots, blocks, drift, the order, what is put off; reads only
    Serve {
        #[command(flatten)]
        shared: Shared,
        /// The address to listen on; port 0 takes a free one and tells it
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7171")]
        listen: SocketAddr,
        /// What the page is called [default: the database and the application]
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
    },
    /// Tell what a component file says about itself, or list a bundle; needs no database
    Inspect {
        /// The component, or the bundle
        file: PathBuf,
        /// How to print it
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct Shared {
    /// The folder with the components, a file per block, or a bundle
    #[arg(long, env = "PLINTH_BLOCKS", value_name = "PATH", default_value = "blocks")]
    blocks: PathBuf,
    /// The database, such as postgres://user:password@host/name?sslmode=require
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// The same database as the role that blocks run under (see `plinth setup --roles`); without it, they run as the host itself
    #[arg(long, env = "PLINTH_BLOCKS_URL", value_name = "URL", hide_env_values = true, conflicts_with = "embedded")]
    pub(super) blocks_url: Option<String>,
    /// Use a PostgreSQL server of our own, started for this command; DATABASE_URL is then ignored
    #[arg(long)]
    pub(super) embedded: bool,
    /// Where the embedded server keeps its data
    #[arg(long, value_name = "DIR", default_value = ".plinth/postgres", requires = "embedded")]
    pub(super) data: PathBuf,
    /// Refuse any set of blocks but the one of the lock file
    #[arg(long, env = "PLINTH_LOCKED", value_parser = clap::builder::FalseyValueParser::new())]
    locked: bool,
    /// The lock file [default: plinth.lock in the folder with the components, or beside the bundle]
    #[arg(long, env = "PLINTH_LOCK_FILE", value_name = "FILE")]
    lock_file: Option<PathBuf>,
    /// The keys of teams: refuse components that are not signed by their own team's
    #[arg(long, env = "PLINTH_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A block that the build ships: refuse to start without it (repeatable)
    #[arg(long, value_name = "ID")]
    expect: Vec<String>,
    /// A block whose component may be gone although something needs it (repeatable)
    #[arg(long, value_name = "ID")]
    accept_removal: Vec<String>,
    /// The application whose boots these are; applications do not see each other's
    #[arg(long, env = "PLINTH_APPLICATION", value_name = "NAME", default_value = "api")]
    pub(super) application: String,
    /// The schema of the ledger
    #[arg(long, env = "PLINTH_LEDGER_SCHEMA", value_name = "NAME", default_value = "plinth")]
    ledger_schema: String,
    /// The folder for compiled code [default: the user's cache folder]
    #[arg(long, env = "PLINTH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Compile at every boot
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    /// How a boot's lock is held
    #[arg(long, env = "PLINTH_LOCK", value_enum, default_value_t = Lock::Auto)]
    lock: Lock,
    /// How long a statement may wait for a lock, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    statement_lock_timeout: Duration,
    /// How long a statement may run, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    statement_timeout: Duration,
    /// How long a block may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    block_timeout: Duration,
    /// Whether blocks are going to run.
    #[arg(skip)]
    pub(super) runs: bool,
    /// Whether this is the inner process of an isolated run.
    #[arg(skip)]
    pub(super) isolated: bool,
    /// Pass on what PostgreSQL says about rows in an error, to report and ledger: keys that are there already, a value that is none
    #[arg(long)]
    show_values: bool,
    /// Any other limit of a block, such as memory=128M; a wrong name lists them all (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    limit: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lock {
    /// By a session lock, or by a lease if a pooler is found in between
    Auto,
    /// By a session lock: not behind a transaction pooler
    Session,
    /// By a lease that is renewed: works behind any pooler
    Lease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// For a pull request
    Markdown,
    /// The order as a diagram for Graphviz
    Dot,
    /// The order as a diagram for Mermaid
    Mermaid,
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { seconds(text) }
}

/// A limit that can be set.
fn limit(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Limits::default().set(name, value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a number of seconds above 0 is expected".to_owned()),
    }
}

impl Shared {
    /// Blocks are going to run.
    pub(super) fn that_runs(self, isolated: bool) -> Shared {
        Shared { runs: true, isolated, ..self }
    }

    /// The keys, if there are to be any.
    pub(super) fn keys(&self) -> Result<Option<Keys>, KeyError> {
        self.keys.as_deref().map(Keys::from_file).transpose()
    }

    pub(super) fn host(self, database: Database, keys: Option<Keys>) -> Host {
        let mut limits = Limits {
            lock: self.statement_lock_timeout,
            statement: self.statement_timeout,
            wall: self.block_timeout,
            ..Limits::default()
        };
        for (name, value) in &self.limit {
            if let Err(error) = limits.set(name, value) {
                // The argument was looked at when it was read.
                tracing::error!(%error, "a limit cannot be set");
            }
        }
        let is_bundle = self.blocks.is_file();
        let beside = if is_bundle { self.blocks.with_file_name("plinth.lock") } else { self.blocks.join("plinth.lock") };
        let lock_file = self.lock_file.unwrap_or(beside);
        let mut host = Host::new(database);
        if self.show_values {
            host = host.show_values();
        }
        if self.locked {
            host = host.locked(lock_file);
        }
        if let Some(keys) = keys {
            host = host.keys(keys);
        }
        let host = if is_bundle { host.bundle(self.blocks) } else { host.folder(self.blocks) };
        let host = host
            .expect(self.expect)
            .accept_removal(self.accept_removal)
            .application(self.application)
            .ledger_schema(self.ledger_schema)
            .lock(match self.lock {
                Lock::Auto => LockMode::Auto,
                Lock::Session => LockMode::Session,
                Lock::Lease => LockMode::Lease,
            })
            .limits(limits);
        match self.cache.or_else(default_cache).filter(|_| !self.no_cache && !self.isolated) {
            Some(cache) => host.cache(cache),
            None => host,
        }
    }
}

fn default_cache() -> Option<PathBuf> {
    cache("compiled")
}

/// A folder in the user's cache.
pub(super) fn cache(name: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("plinth").join(name))
}
