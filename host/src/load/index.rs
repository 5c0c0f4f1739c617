//! What is known of a set of blocks without reading one of them: enough to see that there is nothing to do. A bundle begins with it, and
//! the cache has one of every folder that was loaded before.

use super::{Digest, Problem};
use plinth_manifest::{Kind, Manifest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// A set of blocks in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// The host that put them in order: another one may do so otherwise, or find that they cannot run.
    host: String,
    /// Of the set.
    pub(crate) digest: Digest,
    pub(crate) entries: Vec<Entry>,
    /// Where the manifests lie, one behind the other.
    pub(crate) manifests: Span,
    /// Of the manifests: whoever signs the index signs what each block may do.
    manifests_digest: Digest,
}

/// A block of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    /// Its manifest, as JSON: where it lies among them.
    manifest: Span,
}

/// Where something lies, unless said otherwise counted from the end of the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) at: u64,
    pub(crate) length: u64,
}

impl Index {
    /// Of blocks in their order; the manifests are written into `bodies`.
    pub(crate) fn new<'a>(
        digest: Digest,
        blocks: impl Iterator<Item = (&'a Manifest, Digest)>,
        bodies: &mut Vec<u8>,
    ) -> Result<Index, serde_json::Error> {
        let (mut entries, mut manifests) = (Vec::new(), Vec::new());
        for (manifest, digest) in blocks {
            let written = Span::append(&mut manifests, &serde_json::to_vec(manifest)?);
            entries.push(Entry { id: manifest.id.to_string().into(), kind: manifest.kind, digest, manifest: written });
        }
        let host = env!("CARGO_PKG_VERSION").to_owned();
        let manifests_digest = Digest::of(&manifests);
        Ok(Index { host, digest, entries, manifests: Span::append(bodies, &manifests), manifests_digest })
    }

    /// The manifests, given what lies where they do: certainly those of the index.
    pub(crate) fn manifests<'a>(&'a self, bytes: Cow<'a, [u8]>) -> Result<Manifests<'a>, Problem> {
        if Digest::of(&bytes) == self.manifests_digest { Ok(Manifests { index: self, bytes }) } else { Err(damaged()) }
    }

    /// The order, as places among the blocks by id.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut by_id: Vec<(usize, &Entry)> = self.entries.iter().enumerate().collect();
        by_id.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        let mut order: Vec<(usize, usize)> = by_id.iter().enumerate().map(|(by_id, (place, _))| (*place, by_id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, by_id)| by_id).collect()
    }

    /// Whether this host made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.host == env!("CARGO_PKG_VERSION")
    }
}

/// The manifests of an index.
pub(crate) struct Manifests<'a> {
    index: &'a Index,
    bytes: Cow<'a, [u8]>,
}

impl Manifests<'_> {
    /// A block's, by its place in the index.
    pub(crate) fn of(&self, place: usize) -> Result<Manifest, Problem> {
        let entry = self.index.entries.get(place).ok_or_else(damaged)?;
        let json = entry.manifest.of(&self.bytes).ok_or_else(damaged)?;
        serde_json::from_slice(json)
            .map_err(|error| Problem::NoBundle(format!("the manifest of {} cannot be read: {error}", entry.id)))
    }
}

fn damaged() -> Problem {
    Problem::NoBundle("its manifests are damaged".into())
}

impl Span {
    /// Puts something behind what is there.
    pub(crate) fn append(bodies: &mut Vec<u8>, bytes: &[u8]) -> Span {
        let at = bodies.len() as u64;
        bodies.extend_from_slice(bytes);
        Span { at, length: bytes.len() as u64 }
    }

    /// That part of what it is counted in.
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
