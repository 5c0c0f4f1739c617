//! The PostgreSQL that this program carries: a server, unpacked once into a cache, and a data folder that is ready, so that there is
//! no `initdb` to run or to carry.

use super::{
    account::Account,
    copy::{PLACES, folder, must_be_ours},
    error::{EmbeddedError, io_error},
    tar,
};
use std::{
    fs::{self, DirBuilder},
    hash::{DefaultHasher, Hasher},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const SERVER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/server.tar.zst"));
const DATA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/data.tar.zst"));
pub(super) const VERSION: &str = include_str!(concat!(env!("OUT_DIR"), "/version"));

/// Unpacks the server, if it is not there yet, and returns its folder.
pub(super) fn server(account: &Account) -> Result<PathBuf, EmbeddedError> {
    let mut failed = None;
    for place in places(account) {
        match unpacked_in(&place) {
            Ok(prefix) if account.blocked_at(&prefix).is_none() => return Ok(prefix),
            Ok(prefix) => {
                let refused = io::Error::other(format!("user {} cannot enter it", account.name()));
                failed = Some(io_error("use the carried server in", &prefix)(refused));
            }
            Err(error) => failed = Some(io_error("unpack the carried server in", &place)(error)),
        }
    }
    Err(failed.unwrap_or(EmbeddedError::NoAccount))
}

/// Where the server may be unpacked, the best first: where the user that runs it can read it, and only we can write.
fn places(account: &Account) -> Vec<PathBuf> {
    if account.switches() {
        return PLACES.iter().map(PathBuf::from).collect();
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let own = PathBuf::from(format!("/tmp/plinth-postgres-{}", nix::unistd::geteuid()));
    cache.map(|cache| cache.join("plinth/bundled")).into_iter().chain([own]).collect()
}

fn unpacked_in(place: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => must_be_ours(place)?,
    }
    // Another server has another name; that it was not changed is what the folder's owner sees to.
    let mut digest = DefaultHasher::new();
    digest.write(SERVER);
    let prefix = place.join(format!("bundled-{}-{:016x}", VERSION.trim(), digest.finish()));
    if prefix.exists() {
        return must_be_ours(&prefix).map(|()| prefix);
    }
    tracing::debug!(to = %prefix.display(), "unpacking PostgreSQL");
    let making = tempfile::Builder::new().prefix("making-").tempdir_in(place)?;
    folder(making.path())?;
    tar::unpack(SERVER, making.path(), tar::Modes::Kept)?;
    match fs::rename(making.path(), &prefix) {
        Ok(()) => {}
        // Another process was faster.
        Err(_) if prefix.exists() => must_be_ours(&prefix)?,
        Err(error) => return Err(error),
    }
    Ok(prefix)
}

/// Fills `data`, an empty folder of `account`.
pub(super) fn data(account: &Account, data: &Path, durable: bool) -> Result<(), EmbeddedError> {
    let made = tar::unpack(DATA, data, tar::Modes::Private).map_err(io_error("unpack a data folder to", data))?;
    for path in made {
        account.own(&path)?;
    }
    if durable {
        // One call for a thousand files, which one by one would take seconds.
        let synced = fs::File::open(data).and_then(|folder| Ok(nix::unistd::syncfs(folder)?));
        synced.map_err(io_error("sync", data))?;
    }
    Ok(())
}
