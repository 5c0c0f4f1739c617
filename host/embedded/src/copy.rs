//! Root's private copy of PostgreSQL, made readable: an install under /root cannot be run by the
//! unprivileged user that the server must be, so root copies it once to a place where everybody can
//! read it and only root can write.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The second one for containers whose /var cannot be written.
pub(super) const PLACES: [&str; 2] = ["/var/cache/plinth", "/tmp/plinth-postgres-0"];

/// The parts of an install that a server needs.
const PARTS: [&str; 4] = ["bin/postgres", "bin/initdb", "lib", "share"];

/// Copies the install whose programs are in `bin` and returns the copy's `bin`. `libraries` are
/// folders of shared libraries outside the install; their files go to the copy's `lib`.
pub(super) fn readable(bin: &Path, libraries: &[PathBuf]) -> io::Result<PathBuf> {
    let prefix = bin.parent().unwrap_or(bin);
    let (lib, bki) = (prefix.join("lib"), "postgres.bki");
    if !lib.is_dir() || !(prefix.join("share").join(bki).exists() || prefix.join("share/postgresql").join(bki).exists()) {
        return Err(io::Error::other("it is not a self-contained install with bin, lib and share, so it cannot be copied"));
    }
    let name = name(&bin.join("postgres"))?;
    let mut failed = io::Error::other("no place for a copy");
    for place in PLACES {
        match copy_to(Path::new(place), &name, prefix, libraries) {
            Ok(copy) => return Ok(copy.join("bin")),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Changes with the program, so that a newer install gets a copy of its own.
fn name(postgres: &Path) -> io::Result<String> {
    let found = fs::metadata(postgres)?;
    Ok(format!("postgres-{}-{}-{}", found.len(), found.mtime(), found.ino()))
}

fn copy_to(place: &Path, name: &str, prefix: &Path, libraries: &[PathBuf]) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o755).create(place) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => must_be_ours(place)?,
    }
    let copy = place.join(name);
    if copy.exists() {
        return must_be_ours(&copy).map(|()| copy);
    }
    tracing::info!(from = %prefix.display(), to = %copy.display(), "copying PostgreSQL to where the server's user can read it");
    let making = tempfile::Builder::new().prefix("making-").tempdir_in(place)?;
    folder(making.path())?;
    folder(&making.path().join("bin"))?;
    for part in PARTS {
        tree(&prefix.join(part), &making.path().join(part))?;
    }
    for library in libraries.iter().filter(|folder| **folder != prefix.join("lib")) {
        tree(library, &making.path().join("lib"))?;
    }
    match fs::rename(making.path(), &copy) {
        Ok(()) => {}
        // Another process was faster.
        Err(_) if copy.exists() => must_be_ours(&copy)?,
        Err(error) => return Err(error),
    }
    Ok(copy)
}

/// A folder laid out by another user could hold anything.
pub(super) fn must_be_ours(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let safe = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if safe { Ok(()) } else { Err(io::Error::other(format!("{} is not a folder that only we can write", folder.display()))) }
}

/// Makes the folder if it is missing, readable to all.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => fs::set_permissions(path, Permissions::from_mode(0o755)),
    }
}

fn tree(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if found.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !found.is_dir() {
        fs::copy(from, to)?;
        let mode = if found.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        return fs::set_permissions(to, Permissions::from_mode(mode));
    }
    folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
