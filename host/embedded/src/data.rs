//! The data folder: a named one that is kept, or a temporary one.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, io_error};
use super::initdb;
use super::lock::{Lock, Tried};
use super::postmaster::{self, Occupant};
use super::scratch::{Scratch, sweep};

const MEMORY: &str = "/dev/shm";

/// A new server takes 40 MB, most of them WAL, and tests fill some more. Containers often have 64
/// MB.
const MEMORY_NEEDED: u64 = 256 << 20;

/// The watcher of a Plinth that was killed needs a second or two to stop its server; a restart
/// right after must not fail.
const WAIT_FOR_PREDECESSOR: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Data {
    Named { folder: PathBuf, _lock: Lock },
    Temporary { folder: PathBuf, _scratch: Scratch },
}

impl Data {
    pub(super) fn folder(&self) -> &Path {
        match self {
            Data::Named { folder, .. } | Data::Temporary { folder, .. } => folder,
        }
    }

    /// A new data folder that is removed with its value.
    pub(super) fn temporary(
        binaries: &Binaries,
        account: &Account,
        in_memory: bool,
        durable: bool,
    ) -> Result<Data, EmbeddedError> {
        let scratch = Scratch::new(&temporary_base(account, in_memory), account)?;
        let folder = scratch.private("data", account)?;
        initdb::run(binaries, account, &folder, durable)?;
        Ok(Data::Temporary { folder, _scratch: scratch })
    }

    /// The data folder at `path`, made if there is none, and the user that must run its server.
    pub(super) fn named(
        path: &Path,
        binaries: &Binaries,
        account: &Account,
        durable: bool,
    ) -> Result<(Data, Account), EmbeddedError> {
        let folder = settle(path)?;
        let beside = lock_path(&folder);
        let lock = match Lock::take(&beside).map_err(io_error("lock", &beside))? {
            Tried::Held(lock) => lock,
            Tried::Taken => {
                let pid = postmaster::read(&folder).map(|file| file.pid);
                return Err(EmbeddedError::InUse { folder, pid });
            }
        };
        let account = match state(&folder)? {
            State::Absent => {
                create(&folder, binaries, account, durable)?;
                account.clone()
            }
            State::Foreign => return Err(EmbeddedError::NotADataFolder { folder }),
            State::Data { version } => {
                if version != binaries.major().to_string() {
                    let bin = binaries.folder().to_owned();
                    return Err(EmbeddedError::WrongVersion { folder, found: version, bin, binaries: binaries.major() });
                }
                let account = account.of_folder(&folder)?;
                account.must_reach(&folder)?;
                vacate(&folder)?;
                account
            }
        };
        Ok((Data::Named { folder, _lock: lock }, account))
    }
}

/// Where sweeps look: everywhere temporary folders are made.
pub(super) fn temporary_bases() -> Vec<PathBuf> {
    let mut bases = vec![PathBuf::from("/tmp"), std::env::temp_dir(), PathBuf::from(MEMORY)];
    bases.dedup();
    bases
}

fn temporary_base(account: &Account, in_memory: bool) -> PathBuf {
    if in_memory {
        #[allow(clippy::unnecessary_cast, reason = "narrower types on other systems")]
        let room = statvfs(MEMORY).map_or(0, |found| found.blocks_available() as u64 * found.fragment_size() as u64);
        if room >= MEMORY_NEEDED && account.blocked_at(Path::new(MEMORY)).is_none() {
            return PathBuf::from(MEMORY);
        }
        tracing::debug!(room, "not enough room in /dev/shm: the data folder is on disk");
    }
    // TMPDIR of root may lie in /root.
    let named = std::env::temp_dir();
    if account.blocked_at(&named).is_none() { named } else { PathBuf::from("/tmp") }
}

enum State {
    /// Nothing there, or an empty folder.
    Absent,
    Data {
        version: String,
    },
    Foreign,
}

fn state(folder: &Path) -> Result<State, EmbeddedError> {
    if !folder.exists() {
        return Ok(State::Absent);
    }
    let mut entries = fs::read_dir(folder).map_err(io_error("list", folder))?;
    if entries.next().is_none() {
        return Ok(State::Absent);
    }
    match fs::read_to_string(folder.join("PG_VERSION")) {
        Ok(version) if folder.join("global").is_dir() => Ok(State::Data { version: version.trim().to_owned() }),
        _ => Ok(State::Foreign),
    }
}

/// The absolute path, links resolved, parents made.
fn settle(path: &Path) -> Result<PathBuf, EmbeddedError> {
    let absolute = std::path::absolute(path).map_err(io_error("resolve", path))?;
    if absolute.exists() {
        let folder = absolute.canonicalize().map_err(io_error("resolve", &absolute))?;
        return match (folder.is_dir(), folder.parent()) {
            (false, _) => Err(EmbeddedError::BadDataFolder { folder, reason: "it is not a folder" }),
            (true, None) => Err(EmbeddedError::BadDataFolder { folder, reason: "it is the root of the file system" }),
            (true, Some(_)) => Ok(folder),
        };
    }
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(EmbeddedError::BadDataFolder { folder: absolute, reason: "it has no name of its own" });
    };
    fs::create_dir_all(parent).map_err(io_error("make the folder", parent))?;
    Ok(parent.canonicalize().map_err(io_error("resolve", parent))?.join(name))
}

pub(super) fn lock_path(folder: &Path) -> PathBuf {
    beside(folder, "plinth.lock")
}

pub(super) fn log_path(folder: &Path) -> PathBuf {
    beside(folder, "plinth.log")
}

fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    folder.with_file_name(name)
}

/// Makes the data folder beside its place and moves it there, so that a kill leaves all of it or
/// nothing.
fn create(folder: &Path, binaries: &Binaries, account: &Account, durable: bool) -> Result<(), EmbeddedError> {
    let Some(parent) = folder.parent() else {
        return Err(EmbeddedError::BadDataFolder { folder: folder.to_owned(), reason: "it has no parent" });
    };
    account.must_reach(parent)?;
    sweep(parent);
    let scratch = Scratch::new(parent, account)?;
    let made = scratch.private("data", account)?;
    initdb::run(binaries, account, &made, durable)?;
    fs::rename(&made, folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::CrossesDevices => {
            EmbeddedError::BadDataFolder { folder: folder.to_owned(), reason: "it is a mount point; name a folder inside it" }
        }
        _ => io_error("move the new data folder to", folder)(source),
    })?;
    if durable {
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(io_error("sync", parent))?;
    }
    Ok(())
}

/// Waits until no server uses the folder.
fn vacate(folder: &Path) -> Result<(), EmbeddedError> {
    let deadline = Instant::now() + WAIT_FOR_PREDECESSOR;
    loop {
        match postmaster::occupant(folder) {
            Occupant::Nobody => return Ok(()),
            Occupant::Impostor(pid) => {
                tracing::info!(pid, folder = %folder.display(), "a stale postmaster.pid names another program's process id");
                return postmaster::disown(folder).map_err(io_error("correct postmaster.pid in", folder));
            }
            Occupant::Server(pid) if Instant::now() >= deadline => {
                return Err(EmbeddedError::InUse { folder: folder.to_owned(), pid: Some(pid) });
            }
            Occupant::Server(_) => sleep(Duration::from_millis(50)),
        }
    }
}
