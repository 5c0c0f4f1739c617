//! Compiled code on disk. Deserialising it is trusting it, so only what this host wrote is read: a private folder of our
//! own user, a file per component digest and engine, a checksum over all of it. Anything else is compiled anew.

use crate::load::{Digest, private};
use std::{
    fs, io,
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
const FORMAT: &[u8] = b"plinth compiled code 2\n";
const CHECKSUM: usize = 32;

impl Cache {
    /// Opens a folder, or makes it.
    pub(super) fn open(path: &Path, engine: u64) -> Result<Cache, CacheError> {
        let wrong = |source| CacheError::Folder { path: path.to_owned(), source };
        private::make(path).map_err(wrong)?;
        if !private::is_ours(path).map_err(wrong)? {
            return Err(CacheError::NotPrivate(path.to_owned()));
        }
        Ok(Cache { folder: path.into(), engine })
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

    fn checksum(&self, digest: &Digest, code: &[u8]) -> [u8; CHECKSUM] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(FORMAT).update(&self.engine.to_be_bytes()).update(digest.as_bytes()).update(code);
        *hasher.finalize().as_bytes()
    }

    /// Keeps a component's code. A cache that cannot be written costs time, not a boot.
    pub(super) fn put(&self, digest: &Digest, component: &Component) {
        let written = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| private::write(&self.file(digest), &[FORMAT, &self.checksum(digest, &code), &code]));
        if let Err(error) = written {
            tracing::warn!(%error, folder = %self.folder.display(), "compiled code cannot be kept");
        }
    }
}
