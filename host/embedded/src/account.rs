//! The user that the server runs as: ourselves, or an unprivileged one when we are root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, getegid, geteuid};

use super::error::{EmbeddedError, io_error};

/// In this order; `postgres` first, since a distribution's packages make data folders for it.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, Clone)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
    /// We are root and become this user; otherwise this user is ourselves.
    switch: bool,
}

impl Account {
    /// Ourselves, or `postgres`, or `nobody`. `initdb` wants a passwd entry, so an account must
    /// have one.
    pub(super) fn choose() -> Result<Account, EmbeddedError> {
        if !geteuid().is_root() {
            let uid = geteuid();
            return Ok(Account { name: name_of(uid), uid: uid.as_raw(), gid: getegid().as_raw(), switch: false });
        }
        UNPRIVILEGED
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
            .ok_or(EmbeddedError::NoAccount)
    }

    /// The account for a data folder that exists: its owner, if we may become that user.
    pub(super) fn of_folder(&self, folder: &Path) -> Result<Account, EmbeddedError> {
        let found = fs::metadata(folder).map_err(io_error("look at", folder))?;
        if found.uid() == self.uid {
            return Ok(self.clone());
        }
        if !self.switch || found.uid() == 0 {
            return Err(EmbeddedError::WrongOwner { folder: folder.to_owned(), owner: found.uid(), account: self.name.clone() });
        }
        let uid = Uid::from_raw(found.uid());
        let gid = User::from_uid(uid).ok().flatten().map_or(found.gid(), |user| user.gid.as_raw());
        Ok(Account { name: name_of(uid), uid: found.uid(), gid, switch: true })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the server's user is another than ours.
    pub(super) fn switches(&self) -> bool {
        self.switch
    }

    /// A command that runs as this user, in `/`, without input and without the PG* variables of our
    /// environment.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if self.switch {
            // std also clears root's supplementary groups here.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Hands a file or folder of ours to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if self.switch {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(io_error("change the owner of", path))?;
        }
        Ok(())
    }

    /// Checks that this user can enter `folder` and every folder above it.
    pub(super) fn must_reach(&self, folder: &Path) -> Result<(), EmbeddedError> {
        match self.blocked_at(folder) {
            None => Ok(()),
            Some(blocked) => Err(EmbeddedError::Unreachable { wanted: folder.to_owned(), blocked, account: self.name.clone() }),
        }
    }

    /// The first folder on the way to `folder` that this user cannot enter.
    pub(super) fn blocked_at(&self, folder: &Path) -> Option<PathBuf> {
        if !self.switch {
            return None;
        }
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        let blocked = way.into_iter().find(|step| match fs::metadata(step) {
            Ok(found) => !self.may_enter(found.mode(), found.uid(), found.gid()),
            Err(_) => true,
        })?;
        // The mode bits do not know access control lists: ask the system before saying no.
        let enters = self.command("/bin/sh").args(["-c", "cd \"$1\"", "sh"]).arg(folder).stderr(Stdio::null()).status();
        if enters.is_ok_and(|status| status.success()) { None } else { Some(blocked.to_owned()) }
    }

    fn may_enter(&self, mode: u32, owner: u32, group: u32) -> bool {
        let bit = if owner == self.uid {
            0o100
        } else if group == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn the_most_specific_class_decides() {
        let account = Account { name: "x".into(), uid: 7, gid: 8, switch: true };
        assert!(account.may_enter(0o711, 0, 0));
        assert!(!account.may_enter(0o700, 0, 0));
        assert!(!account.may_enter(0o607, 7, 0));
        assert!(account.may_enter(0o710, 0, 8));
        assert!(!account.may_enter(0o701, 0, 8));
    }
}
