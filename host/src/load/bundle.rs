//! A bundle: the components of a build in one file, in the order in which they run, behind an index that tells what a boot must know
//! to see that it has nothing to do. A component is read when it runs. The same blocks give the same bytes.
//!
//! ```text
//! "plinth bundle 2\n"   length of the head, SHA-256 of the head   the head   manifests, components, compiled code
//! ```
//!
//! It is read by position and not mapped into memory: a file that is cut short under a mapping ends the process, and the few
//! kilobytes that a boot reads are no faster that way.

use super::{
    Components, Digest, Keys, LoadError, Problem,
    index::{FRAME, Index, Manifests, Span, frame, framed, head},
    private,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fs, io, os::unix::fs::FileExt, path::Path, sync::Arc};

pub(super) const MAGIC: &[u8; 16] = b"plinth bundle 2\n";
/// How bundles of all formats begin.
const ANY: &[u8] = b"plinth bundle ";

/// The most that the index of a bundle may take, in bytes: a hundred thousand blocks.
const MOST_INDEX: u64 = 64 << 20;

/// The most that a manifest in it may take on average, in bytes.
const MOST_MANIFEST: u64 = 1 << 20;

/// A bundle of blocks: a file, or bytes that the program carries. Opened, nothing but its index was read.
///
/// ```no_run
/// # fn list() -> Result<(), plinth::LoadError> {
/// let bundle = plinth::Bundle::open("app.plinth".as_ref())?;
/// for block in bundle.blocks() {
///     println!("{} {}", block.id, block.digest);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Bundle {
    opened: Arc<Opened>,
    /// Whether nobody but who may change the program could have written it.
    trusted: bool,
}

#[derive(Debug)]
struct Opened {
    name: String,
    bytes: Bytes,
    /// Where the head ends.
    start: u64,
    /// Of the head.
    digest: Digest,
    head: Head,
}

#[derive(Debug)]
enum Bytes {
    File(fs::File),
    Carried(&'static [u8]),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Head {
    index: Index,
    bodies: Vec<Body>,
    /// The engine that the compiled code is for.
    engine: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    component: Span,
    /// The signature that lay beside the component.
    signature: Option<String>,
    code: Option<Code>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Code {
    span: Span,
    /// BLAKE3 of the engine, the component's digest and the code.
    checksum: [u8; 32],
}

/// A block of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundled {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: plinth_manifest::Kind,
    /// SHA-256 of its component.
    pub digest: Digest,
    /// The size of its component, in bytes.
    pub bytes: u64,
    /// The size of its compiled code, if there is any.
    pub code_bytes: Option<u64>,
    /// Whether a signature lies with it.
    pub signed: bool,
}

/// The code of components in their order, made by an engine.
pub(crate) struct Compiled {
    pub(crate) engine: u64,
    pub(crate) code: Vec<Vec<u8>>,
}

impl Bundle {
    /// Opens a bundle's file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is none.
    pub fn open(path: &Path) -> Result<Bundle, LoadError> {
        let opened = fs::File::open(path).map_err(Problem::Unreadable).and_then(|file| {
            let found = file.metadata().map_err(Problem::Unreadable)?;
            let trusted = private::is_trusted(&found);
            Bundle::read(path.display().to_string(), Bytes::File(file), trusted)
        });
        opened.map_err(|problem| LoadError::one(path.display().to_string(), problem))
    }

    /// Opens a bundle that the program carries: `include_bytes!("app.plinth")`. The name is for errors.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn carried(name: &str, bytes: &'static [u8]) -> Result<Bundle, LoadError> {
        Bundle::read(name.to_owned(), Bytes::Carried(bytes), true).map_err(|problem| LoadError::one(name.to_owned(), problem))
    }

    fn read(name: String, bytes: Bytes, trusted: bool) -> Result<Bundle, Problem> {
        let begin = bytes.read(0, (FRAME as u64).min(bytes.length()?))?;
        let none = || {
            let why = if begin.starts_with(ANY) { "it has the format of another plinth" } else { "it does not begin like one" };
            Problem::NoBundle(why.into())
        };
        let (length, digest) = frame(MAGIC, &begin).ok_or_else(none)?;
        if length > MOST_INDEX {
            return Err(Problem::NoBundle(format!("its index has {length} bytes, {MOST_INDEX} are the most")));
        }
        let head: Head = head(&bytes.read(FRAME as u64, length)?, &digest)?;
        if head.bodies.len() != head.index.entries.len() {
            return Err(Problem::NoBundle("its index is damaged".into()));
        }
        let start = FRAME as u64 + length;
        if bytes.length()?.checked_sub(start).is_none_or(|there| there < head.end()) {
            return Err(short());
        }
        let opened = Opened { name, bytes, start, digest, head };
        Ok(Bundle { opened: Arc::new(opened), trusted })
    }

    /// The file, or the name that it was given.
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// Its blocks, in the order in which they run.
    pub fn blocks(&self) -> impl Iterator<Item = Bundled> {
        self.opened.head.index.entries.iter().zip(&self.opened.head.bodies).map(|(entry, body)| Bundled {
            id: entry.id.to_string(),
            kind: entry.kind,
            digest: entry.digest,
            bytes: body.component.length,
            code_bytes: body.code.map(|code| code.span.length),
            signed: body.signature.is_some(),
        })
    }

    /// Its index.
    pub(crate) fn index(&self) -> &Index {
        &self.opened.head.index
    }

    /// What a signature of the whole bundle is of: everything else is tied to it by digests.
    pub(crate) fn digest(&self) -> Digest {
        self.opened.digest
    }

    /// Whether nothing in it has to be looked at for who made it: there are no keys, or somebody who may sign bundles signed it.
    pub(crate) fn is_vouched_for(&self, keys: Option<&Keys>) -> bool {
        keys.is_none_or(|keys| keys.vouch(self))
    }

    /// How many blocks there are.
    pub(super) fn len(&self) -> usize {
        self.opened.head.bodies.len()
    }

    pub(super) fn digest_of(&self, place: usize) -> Option<Digest> {
        self.opened.head.index.entries.get(place).map(|entry| entry.digest)
    }

    /// The signature that lies with a block.
    pub(super) fn signature_of(&self, place: usize) -> Option<&str> {
        self.opened.head.bodies.get(place)?.signature.as_deref()
    }

    /// The manifests of its blocks.
    pub(super) fn manifests(&self) -> Result<Manifests<'_>, Problem> {
        let index = self.index();
        index.manifests(self.body(index.manifests, MOST_MANIFEST.saturating_mul(self.len() as u64))?)
    }

    /// A block's component: certainly the one of the index.
    pub(super) fn component(&self, place: usize, most: u64) -> Result<Cow<'_, [u8]>, Problem> {
        let damaged = || Problem::NoBundle("a component in it is damaged".into());
        let body = self.opened.head.bodies.get(place).ok_or_else(damaged)?;
        let bytes = self.body(body.component, most)?;
        if Some(Digest::of(&bytes)) == self.digest_of(place) { Ok(bytes) } else { Err(damaged()) }
    }

    /// A block's code for an engine, if the bundle has it, whole, and from somebody who may tell this process what to do: running code
    /// that was compiled elsewhere is trusting it with everything.
    pub(crate) fn code(&self, place: usize, engine: u64) -> Option<Vec<u8>> {
        if !self.trusted || self.opened.head.engine != Some(engine) {
            return None;
        }
        let code = self.opened.head.bodies.get(place)?.code?;
        let bytes = self.body(code.span, u64::MAX).ok()?;
        (checksum(engine, &self.digest_of(place)?, &bytes) == code.checksum).then(|| bytes.into_owned())
    }

    /// The same bundle, trusted if somebody signed it who may sign bundles, or if it is a part of the program.
    pub(super) fn vouched(&self, vouched: bool) -> Bundle {
        Bundle { trusted: vouched || matches!(self.opened.bytes, Bytes::Carried(_)), ..self.clone() }
    }

    fn body(&self, span: Span, most: u64) -> Result<Cow<'_, [u8]>, Problem> {
        if span.length > most {
            return Err(Problem::TooLarge { size: span.length, most });
        }
        self.opened.bytes.read(self.opened.start.saturating_add(span.at), span.length)
    }
}

fn short() -> Problem {
    Problem::NoBundle("it is cut short".into())
}

impl Head {
    /// Where the last of what lies behind it ends.
    fn end(&self) -> u64 {
        let bodies = self.bodies.iter().flat_map(|body| [Some(body.component), body.code.map(|code| code.span)]).flatten();
        bodies.chain([self.index.manifests]).map(|span| span.at.saturating_add(span.length)).max().unwrap_or_default()
    }
}

impl Bytes {
    fn length(&self) -> Result<u64, Problem> {
        match self {
            Bytes::Carried(bytes) => Ok(bytes.len() as u64),
            Bytes::File(file) => Ok(file.metadata().map_err(Problem::Unreadable)?.len()),
        }
    }

    fn read(&self, at: u64, length: u64) -> Result<Cow<'static, [u8]>, Problem> {
        match self {
            Bytes::Carried(bytes) => Span { at, length }.of(bytes).map(Cow::Borrowed).ok_or_else(short),
            Bytes::File(file) => {
                if at.checked_add(length).is_none_or(|end| self.length().is_ok_and(|there| end > there)) {
                    return Err(short());
                }
                let mut bytes = vec![0; usize::try_from(length).map_err(|_| short())?];
                file.read_exact_at(&mut bytes, at).map_err(Problem::Unreadable)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

fn checksum(engine: u64, component: &Digest, code: &[u8]) -> [u8; 32] {
    // BLAKE3: code is the most of what a first apply reads, and SHA-256 takes four times as long.
    *blake3::Hasher::new().update(&engine.to_be_bytes()).update(component.as_bytes()).update(code).finalize().as_bytes()
}

impl Components {
    /// Writes them as a bundle, in the order in which they run; with their code, if they were compiled. The same components give the
    /// same bytes.
    pub(crate) fn bundle(&self, order: &[usize], compiled: Option<&Compiled>, file: &Path) -> Result<(), LoadError> {
        let written = self.bundled(order, compiled).and_then(|parts| {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            private::write(file, &parts).map_err(Problem::Unwritable)
        });
        written.map_err(|problem| LoadError::one(file.display().to_string(), problem))
    }

    fn bundled(&self, order: &[usize], compiled: Option<&Compiled>) -> Result<Vec<Vec<u8>>, Problem> {
        let wrong = |error: &dyn std::fmt::Display| Problem::NoBundle(error.to_string());
        let in_order: Vec<_> = order.iter().filter_map(|place| self.get(*place)).collect();
        let mut bodies = Vec::new();
        let blocks = in_order.iter().map(|component| (&component.manifest, component.digest));
        let index = Index::new(self.digest(), blocks, &mut bodies).map_err(|error| wrong(&error))?;
        let mut written = Head { index, bodies: Vec::new(), engine: compiled.map(|compiled| compiled.engine) };
        for component in &in_order {
            let at = Span::append(&mut bodies, &component.bytes()?);
            written.bodies.push(Body { component: at, signature: component.signature(), code: None });
        }
        if let Some(Compiled { engine, code }) = compiled {
            for ((body, component), code) in written.bodies.iter_mut().zip(&in_order).zip(code) {
                let checksum = checksum(*engine, &component.digest, code);
                body.code = Some(Code { span: Span::append(&mut bodies, code), checksum });
            }
        }
        Ok(vec![framed(MAGIC, &written).map_err(|error| wrong(&error))?, bodies])
    }
}

/// Whether a file begins like a bundle.
pub(crate) fn is_bundle(path: &Path) -> io::Result<bool> {
    let mut first = [0; ANY.len()];
    let read = fs::File::open(path)?.read_at(&mut first, 0)?;
    Ok(read == ANY.len() && first == *ANY)
}
