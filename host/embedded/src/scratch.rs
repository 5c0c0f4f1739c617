//! Private temporary folders that are removed with their value, and the sweep of those that were
//! left behind.
//!
//! A scratch folder is called `plinth-pg-XXXXXX` and holds a file `lock`, locked by the process
//! that made it. A folder whose lock nobody holds is stale: its process was killed. The next start
//! removes it, and stops a server that may still run in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::account::Account;
use super::error::{EmbeddedError, io_error};
use super::lock::{Lock, Tried};
use super::postmaster;

const PREFIX: &str = "plinth-pg-";

/// A folder without a lock file may be one that is being made; after this time it is not.
const UNLOCKED_AGE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Scratch {
    // Declared before the lock, so that the folder is gone when the lock is released.
    folder: TempDir,
    _lock: Lock,
}

impl Scratch {
    /// A new folder in `base`, which `account` can enter but not list.
    pub(super) fn new(base: &Path, account: &Account) -> Result<Scratch, EmbeddedError> {
        let folder =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(base).map_err(io_error("make a temporary folder in", base))?;
        let mode = if account.switches() { 0o711 } else { 0o700 };
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).map_err(io_error("set the mode of", folder.path()))?;
        let lock = folder.path().join("lock");
        match Lock::born(&lock).map_err(io_error("lock", &lock))? {
            Tried::Held(held) => Ok(Scratch { folder, _lock: held }),
            Tried::Taken => Err(EmbeddedError::InUse { folder: folder.path().to_owned(), pid: None }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder in this one that belongs to `account` alone.
    pub(super) fn private(&self, name: &str, account: &Account) -> Result<PathBuf, EmbeddedError> {
        let path = self.path().join(name);
        fs::create_dir(&path).map_err(io_error("make the folder", &path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(io_error("set the mode of", &path))?;
        account.own(&path)?;
        Ok(path)
    }
}

/// Removes the stale folders of ours in `base`. Does what it can: what fails is left for the next
/// time.
pub(super) fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            sweep_one(&entry.path());
        }
    }
}

fn sweep_one(folder: &Path) {
    // The folders of other users, and links that they laid out in /tmp, are not ours to touch.
    let Ok(found) = fs::symlink_metadata(folder) else { return };
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
        return;
    }
    let lock = folder.join("lock");
    let held = match Lock::take_existing(&lock) {
        Ok(Tried::Held(held)) => Some(held),
        Ok(Tried::Taken) => return,
        Err(_) => {
            let age = found.modified().ok().and_then(|made| made.elapsed().ok());
            if lock.exists() || age.is_none_or(|age| age < UNLOCKED_AGE) {
                return;
            }
            None
        }
    };
    let data = folder.join("data");
    postmaster::end_orphan(&data);
    // The data first: while an orphaned initdb still writes there this fails, and the lock must
    // stay for the next sweep.
    let emptied = fs::remove_dir_all(&data).or_else(|error| if data.exists() { Err(error) } else { Ok(()) });
    match emptied.and_then(|()| fs::remove_dir_all(folder)) {
        Ok(()) => tracing::debug!(folder = %folder.display(), "removed a stale PostgreSQL folder"),
        Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot remove a stale PostgreSQL folder"),
    }
    drop(held);
}

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::{Scratch, sweep};

    #[test]
    fn a_sweep_takes_stale_folders_and_leaves_the_others() {
        let base = tempfile::tempdir().unwrap();
        let live = Scratch::new(base.path(), &Account::choose().unwrap()).unwrap();
        let stale = base.path().join("plinth-pg-stale");
        std::fs::create_dir_all(stale.join("data")).unwrap();
        std::fs::write(stale.join("lock"), "").unwrap();
        let young = base.path().join("plinth-pg-young");
        std::fs::create_dir(&young).unwrap();
        let foreign = base.path().join("something");
        std::fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::symlink(&foreign, base.path().join("plinth-pg-link")).unwrap();

        sweep(base.path());

        assert!(live.path().exists() && young.exists() && foreign.exists());
        assert!(!stale.exists());
    }
}
