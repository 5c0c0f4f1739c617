//! What is known of a set of blocks without reading one of them: enough to see that there is nothing to do. A bundle begins with it, and
//! the cache has one of every folder that was loaded before.

use super::{Digest, Problem};
use plinth_manifest::{Kind, Manifest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// A set of blocks in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// The host that put them in order: another one may do so otherwise, or find that they cannot run.
    host: String,
    /// Of the set.
    pub(crate) digest: Digest,
    pub(crate) entries: Vec<Entry>,
}

/// A block of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    /// Its manifest, as JSON.
    pub(crate) manifest: Span,
}

/// Where something lies, counted from the end of the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) at: u64,
    pub(crate) length: u64,
}

impl Index {
    /// Of blocks in their order; the manifests are written behind each other into `bodies`.
    pub(crate) fn new<'a>(
        digest: Digest,
        blocks: impl Iterator<Item = (&'a Manifest, Digest)>,
        bodies: &mut Vec<u8>,
    ) -> Result<Index, serde_json::Error> {
        let mut entries = Vec::new();
        for (manifest, digest) in blocks {
            let json = serde_json::to_vec(manifest)?;
            let manifest_at = Span::append(bodies, &json);
            entries.push(Entry { id: manifest.id.to_string().into(), kind: manifest.kind, digest, manifest: manifest_at });
        }
        Ok(Index { host: env!("CARGO_PKG_VERSION").to_owned(), digest, entries })
    }

    /// Whether this host made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.host == env!("CARGO_PKG_VERSION")
    }
}

impl Span {
    /// Puts something behind what is there.
    pub(crate) fn append(bodies: &mut Vec<u8>, bytes: &[u8]) -> Span {
        let at = bodies.len() as u64;
        bodies.extend_from_slice(bytes);
        Span { at, length: bytes.len() as u64 }
    }

    /// That part of what lies behind the head.
    pub(crate) fn of(self, bodies: &[u8]) -> Option<&[u8]> {
        let at = usize::try_from(self.at).ok()?;
        bodies.get(at..at.checked_add(usize::try_from(self.length).ok()?)?)
    }
}

/// The bytes before a head.
pub(crate) const FRAME: usize = MAGIC + 8 + 32;
const MAGIC: usize = 16;

/// A head and what says how long it is and what it must be: magic, length, SHA-256.
pub(crate) fn framed(magic: &[u8; MAGIC], head: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    let head = postcard::to_stdvec(head)?;
    let mut framed = magic.to_vec();
    framed.extend_from_slice(&(head.len() as u64).to_le_bytes());
    framed.extend_from_slice(&Sha256::digest(&head));
    framed.extend_from_slice(&head);
    Ok(framed)
}

/// The frame of a head: how long it is, and its digest.
pub(crate) fn frame(magic: &[u8; MAGIC], bytes: &[u8]) -> Option<(u64, Digest)> {
    let (length, digest) = bytes.strip_prefix(magic)?.split_at_checked(8)?;
    Some((u64::from_le_bytes(length.try_into().ok()?), Digest::from_bytes(digest.get(..32)?.try_into().ok()?)))
}

/// Reads a head, if it is what its frame says.
pub(crate) fn head<T: DeserializeOwned>(bytes: &[u8], digest: &Digest) -> Result<T, Problem> {
    if Digest::of(bytes) != *digest {
        return Err(Problem::NoBundle("its index is damaged".into()));
    }
    postcard::from_bytes(bytes).map_err(|error| Problem::NoBundle(format!("its index cannot be read: {error}")))
}
