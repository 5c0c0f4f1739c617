//! A folder that was loaded before: what its blocks say, kept in the cache by the identity of their files, so that a boot reads a
//! thousand components only if one of them changed.

use super::{
    Component, Components, Digest, Source,
    index::{FRAME, Index, frame, framed, head},
    private,
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const MAGIC: &[u8; 16] = b"plinth folder 2\n";

/// A file that changed less than this ago may change again without its times telling: they are no finer than the kernel's clock.
const SETTLED: Duration = Duration::from_secs(2);

/// What makes a file the one that was read. Nobody but the kernel sets when it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A folder as it was when it was loaded: its files, by name, and its blocks in their order, each with the place of its file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    folder: PathBuf,
    files: Vec<(String, Identity)>,
    places: Vec<u32>,
    index: Index,
}

/// A folder's files and what the cache knows of them.
pub(crate) struct Seen {
    file: PathBuf,
    folder: PathBuf,
    files: Vec<(String, Identity)>,
}

/// What was known of a folder.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) index: Index,
    places: Vec<u32>,
    files: Vec<(String, Identity)>,
    folder: PathBuf,
    bodies: Vec<u8>,
}

impl Seen {
    /// Looks at a folder's files. Nothing of them is read. An error: the folder cannot be read, or the cache is none of ours.
    pub(crate) fn look(folder: &Path, cache: &Path) -> io::Result<Seen> {
        private::make(cache)?;
        if !private::is_ours(cache)? {
            return Err(io::Error::other("the cache belongs to another user or can be written by others"));
        }
        let folder = folder.canonicalize()?;
        let mut files = Vec::new();
        for path in super::wasm_files(&folder)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(io::Error::other("a file's name is no UTF-8"));
            };
            files.push((name.to_owned(), Identity::of(&fs::metadata(&path)?)));
        }
        let called = Digest::of(folder.as_os_str().as_encoded_bytes());
        Ok(Seen { file: cache.join(format!("folder-{called}")), folder, files })
    }

    /// What the cache knows of exactly these files; none if anything is otherwise, which is no error.
    pub(crate) fn known(&self) -> Option<Known> {
        let mut bytes = fs::read(&self.file).ok()?;
        let (length, digest) = frame(MAGIC, bytes.get(..FRAME)?)?;
        let end = FRAME.checked_add(usize::try_from(length).ok()?)?;
        let read: Head = head(bytes.get(FRAME..end)?, &digest).ok()?;
        if read.folder != self.folder || read.files != self.files || !read.index.is_ours() {
            return None;
        }
        let bodies = bytes.split_off(end);
        Some(Known { index: read.index, places: read.places, files: read.files, folder: read.folder, bodies })
    }

    /// Keeps what was loaded, unless a file may have changed meanwhile. A cache that cannot be written costs time, not a boot.
    pub(crate) fn keep(&self, components: &Components, order: &[usize]) {
        let kept = self.try_keep(components, order);
        if let Err(error) = kept {
            tracing::debug!(%error, file = %self.file.display(), "what a folder holds cannot be kept");
        }
    }

    fn try_keep(&self, components: &Components, order: &[usize]) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let settled = (now.saturating_sub(SETTLED)).as_secs().try_into().unwrap_or(i64::MAX);
        if self.files.iter().any(|(_, identity)| identity.changed.0 >= settled || identity.modified.0 >= settled) {
            return Ok(());
        }
        let in_order: Vec<_> = order.iter().filter_map(|place| components.get(*place)).collect();
        let place = |origin: &Path| {
            let name = origin.file_name()?.to_str()?;
            self.files.binary_search_by(|(file, _)| file.as_str().cmp(name)).ok()?.try_into().ok()
        };
        let places: Option<Vec<u32>> = in_order.iter().map(|component| place(component.path()?)).collect();
        let places = places.ok_or_else(|| io::Error::other("a file is gone"))?;
        let mut bodies = Vec::new();
        let blocks = in_order.iter().map(|component| (&component.manifest, component.digest));
        let index = Index::new(components.digest(), blocks, &mut bodies).map_err(io::Error::other)?;
        let head = Head { folder: self.folder.clone(), files: self.files.clone(), places, index };
        let mut bytes = framed(MAGIC, &head).map_err(io::Error::other)?;
        bytes.extend_from_slice(&bodies);
        private::write(&self.file, &[&bytes])
    }
}

impl Known {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The blocks; none if what is kept of them cannot be read.
    pub(crate) fn components(&self) -> Option<Components> {
        let manifests = self.index.manifests(self.index.manifests.of(&self.bodies)?.into()).ok()?;
        let file = |place: &u32| Some(self.folder.join(&self.files.get(usize::try_from(*place).ok()?)?.0));
        let blocks = self.index.entries.iter().zip(&self.places).enumerate();
        let components = blocks.map(|(at, (entry, place))| {
            Some(Component { manifest: manifests.of(at).ok()?, digest: entry.digest, source: Source::File(file(place)?) })
        });
        Some(Components::sorted(components.collect::<Option<Vec<_>>>()?))
    }
}

impl Identity {
    fn of(file: &fs::Metadata) -> Identity {
        Identity {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
