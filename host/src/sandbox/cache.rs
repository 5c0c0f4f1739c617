//! Compiled code on disk. Deserialising it is trusting it, so only what this host wrote is read: a private folder of our
//! own user, a file per component digest and engine, a checksum over all of it. Anything else is compiled anew.

use crate::load::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use wasmtime::{Engine, component::Component};

/// Why there is no place to run blocks in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// wasmtime cannot make an engine on this machine.
    #[error("the WebAssembly engine cannot be made: {0:#}")]
    Engine(wasmtime::Error),
    /// The cache's folder cannot be made or read.
    #[error("the cache for compiled code, {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could write into the cache's folder.
    #[error(
        "the cache for compiled code, {0}, belongs to another user or can be written by others: make it private (chmod 700) or name another"
    )]
    NotPrivate(PathBuf),
}

/// A folder of compiled code.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: Arc<Path>,
    /// What code must have been made by: engine version, its settings, this processor.
    engine: u64,
}

/// Changes when the file's form does.
const FORMAT: &[u8] = b"plinth compiled code 1\n";
const CHECKSUM: usize = 32;

impl Cache {
    /// Opens a folder, or makes it.
    pub(super) fn open(path: &Path, engine: &Engine) -> Result<Cache, CacheError> {
        let wrong = |source| CacheError::Folder { path: path.to_owned(), source };
        make_private(path).map_err(wrong)?;
        if !is_private(path).map_err(wrong)? {
            return Err(CacheError::NotPrivate(path.to_owned()));
        }
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Cache { folder: path.into(), engine: hasher.finish() })
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}", self.engine))
    }

    /// A component's code, if it is there and whole.
    pub(super) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.file(digest);
        let bytes = fs::read(&path).ok()?;
        let component = self.whole(digest, &bytes).and_then(|code| {
            // SAFETY: the folder is private to our user, the checksum ties the code to this component, engine and format:
            // these are bytes that `put` wrote.
            #[allow(unsafe_code)]
            let component = unsafe { Component::deserialize(engine, code) };
            component.ok()
        });
        if component.is_none() {
            tracing::warn!(path = %path.display(), "compiled code is damaged and made anew");
            let _ = fs::remove_file(&path);
        }
        component
    }

    fn whole<'a>(&self, digest: &Digest, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (checksum, code) = bytes.strip_prefix(FORMAT)?.split_at_checked(CHECKSUM)?;
        (checksum == self.checksum(digest, code)).then_some(code)
    }

    fn checksum(&self, digest: &Digest, code: &[u8]) -> Vec<u8> {
        Sha256::new()
            .chain_update(FORMAT)
            .chain_update(self.engine.to_be_bytes())
            .chain_update(digest.as_bytes())
            .chain_update(code)
            .finalize()
            .to_vec()
    }

    /// Keeps a component's code. A cache that cannot be written costs time, not a boot.
    pub(super) fn put(&self, digest: &Digest, component: &Component) {
        let written = component.serialize().map_err(io::Error::other).and_then(|code| {
            let path = self.file(digest);
            // Renamed when whole, so that a reader or a killed writer never leaves half of one.
            let temporary = path.with_extension(format!("{}-{:x}", std::process::id(), fastrand::u64(..)));
            let mut file = fs::File::create_new(&temporary)?;
            file.write_all(FORMAT)?;
            file.write_all(&self.checksum(digest, &code))?;
            file.write_all(&code)?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = written {
            tracing::warn!(%error, folder = %self.folder.display(), "compiled code cannot be kept");
        }
    }
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn is_private(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let folder = fs::metadata(path)?;
    // A file that we make belongs to us: that is the user to compare with.
    let probe = tempfile_in(path)?;
    Ok(folder.is_dir() && folder.mode() & 0o022 == 0 && folder.uid() == probe)
}

/// The owner of a file made in the folder.
#[cfg(unix)]
fn tempfile_in(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    let probe = path.join(format!(".probe-{}-{:x}", std::process::id(), fastrand::u64(..)));
    let owner = fs::File::create_new(&probe)?.metadata()?.uid();
    fs::remove_file(&probe)?;
    Ok(owner)
}
