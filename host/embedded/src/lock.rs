//! An advisory lock on a file: held as long as the value lives, released by the system when the
//! process dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// What a try for a lock gives.
pub(super) enum Tried {
    Held(Lock),
    /// Somebody else has it.
    Taken,
}

impl Lock {
    /// Takes the lock of `path`, which is made if it does not exist.
    pub(super) fn take(path: &Path) -> io::Result<Tried> {
        Self::on(OpenOptions::new().create(true).truncate(false).write(true).open(path)?)
    }

    /// Takes the lock of a file that exists.
    pub(super) fn take_existing(path: &Path) -> io::Result<Tried> {
        Self::on(OpenOptions::new().write(true).open(path)?)
    }

    /// Makes a file that is locked from the first moment on at which others can see it under this
    /// name.
    pub(super) fn born(path: &Path) -> io::Result<Tried> {
        let cradle = path.with_extension("new");
        let tried = Self::take(&cradle)?;
        fs::rename(&cradle, path)?;
        Ok(tried)
    }

    fn on(file: File) -> io::Result<Tried> {
        match file.try_lock() {
            Ok(()) => Ok(Tried::Held(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(Tried::Taken),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
