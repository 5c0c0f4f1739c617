//! From a folder or a bundle to blocks: list, digest, read the manifest, check imports and exports. Nothing is compiled.

mod bundle;
mod component;
mod digest;
mod index;
mod listing;
mod lock;
pub(crate) mod private;
mod seen;
mod signature;

pub(crate) use bundle::Compiled;
#[cfg(feature = "cli")]
pub(crate) use bundle::is_bundle;
pub use bundle::{Bundle, Bundled};
pub use component::Problem;
pub(crate) use component::is_interface;
pub use digest::Digest;
pub(crate) use index::Index;
pub(crate) use listing::Listing;
pub(crate) use lock::LockFile;
pub(crate) use seen::Seen;
pub use signature::{KeyError, Keys, make_key, sign};

use plinth_manifest::{BlockId, Manifest};
use std::{
    borrow::Cow,
    fmt, fs, io,
    path::{Path, PathBuf},
    thread,
};

/// The most of a problem that is shown, in bytes.
const SHOWN: usize = 4_000;

/// A block's component, loaded: its manifest is known, its code is not compiled.
#[derive(Clone, Debug)]
pub struct Component {
    /// What it says about itself.
    pub manifest: Manifest,
    /// SHA-256 of the file.
    pub digest: Digest,
    source: Source,
}

/// Where a component's bytes are. A file is read again when the block runs, so that a thousand blocks take no memory.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Bytes { name: String, bytes: Cow<'static, [u8]> },
    Bundle { bundle: Bundle, place: usize },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Bytes { name, .. } => f.write_str(name),
            Source::Bundle { bundle, .. } => f.write_str(bundle.name()),
        }
    }
}

/// A component that the program carries.
#[derive(Clone)]
pub(crate) struct Carried {
    /// For errors.
    pub(crate) name: String,
    pub(crate) bytes: Cow<'static, [u8]>,
    /// The text that `plinth sign` wrote.
    pub(crate) signature: Option<Cow<'static, str>>,
}

/// The components of a build, each id once, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Components(Vec<Component>);

/// What is wrong with a folder of components: all of it, each with its file.
#[derive(Debug)]
pub struct LoadError(Vec<(String, Problem)>);

impl LoadError {
    pub(crate) fn one(file: String, problem: Problem) -> LoadError {
        LoadError(vec![(file, problem)])
    }

    /// The problems, with the file or name each belongs to.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &Problem)> {
        self.0.iter().map(|(file, problem)| (file.as_str(), problem))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (file, problem)) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            // A file says what it likes.
            write!(f, "{file}: {}", crate::report::shown(&problem.to_string(), SHOWN))?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl Components {
    /// Loads every `.wasm` file of a folder. What else lies there is left alone.
    ///
    /// # Errors
    ///
    /// All problems of all files at once.
    pub fn from_folder(folder: &Path, most_bytes: u64) -> Result<Components, LoadError> {
        Components::from_signed_folder(folder, most_bytes, None)
    }

    /// The same, with each file signed by a key of its block's team, if there are keys.
    ///
    /// # Errors
    ///
    /// All problems of all files at once.
    pub fn from_signed_folder(folder: &Path, most_bytes: u64, keys: Option<&Keys>) -> Result<Components, LoadError> {
        let paths =
            wasm_files(folder).map_err(|error| LoadError::one(folder.display().to_string(), Problem::Unreadable(error)))?;
        let loaded = in_parallel(&paths, |path| {
            let bytes = read(path, most_bytes)?;
            let (manifest, digest) = checked(&bytes, || signature::signature_of(path), keys)?;
            Ok(Component { manifest, digest, source: Source::File(path.clone()) })
        });
        Components::collect(paths.iter().map(|path| path.display().to_string()).zip(loaded))
    }

    /// Loads the blocks of a bundle: their manifests, and nothing else of them. With keys, the bundle must be signed as a whole by who may
    /// sign bundles, or each component by its team; then each is read, since only they are signed.
    ///
    /// # Errors
    ///
    /// All problems of all blocks at once.
    pub fn from_bundle(bundle: &Bundle, most_bytes: u64, keys: Option<&Keys>) -> Result<Components, LoadError> {
        let unknown = keys.filter(|_| !bundle.is_vouched_for(keys));
        let bundle = if keys.is_some() { bundle.vouched(unknown.is_none()) } else { bundle.clone() };
        let component =
            |place, manifest, digest| Component { manifest, digest, source: Source::Bundle { bundle: bundle.clone(), place } };
        let digest_of = |place| bundle.digest_of(place).unwrap_or_default();
        let places: Vec<usize> = (0..bundle.len()).collect();
        let loaded = match unknown {
            None => {
                let manifests = bundle.manifests().map_err(|problem| LoadError::one(bundle.name().to_owned(), problem))?;
                in_parallel(&places, |place| Ok(component(*place, manifests.of(*place)?, digest_of(*place))))
            }
            Some(keys) => in_parallel(&places, |place| {
                let digest = digest_of(*place);
                let signers = keys.signers(&digest, bundle.signature_of(*place))?;
                let manifest = component::inspect(&bundle.component(*place, most_bytes)?)?;
                Keys::of_team(manifest.team.as_deref(), &signers)?;
                Ok(component(*place, manifest, digest))
            }),
        };
        let entries = &bundle.index().entries;
        let names = entries.iter().map(|entry| fmt::from_fn(|f| write!(f, "{}, {}", bundle.name(), entry.id)));
        Components::collect(names.zip(loaded))
    }

    /// Loads components that the program carries, such as `include_bytes!`. The names are for errors.
    ///
    /// # Errors
    ///
    /// All problems of all components at once.
    pub fn from_bytes<N, B>(components: impl IntoIterator<Item = (N, B)>) -> Result<Components, LoadError>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        let carried =
            components.into_iter().map(|(name, bytes)| Carried { name: name.into(), bytes: bytes.into(), signature: None });
        Components::from_carried(carried, u64::MAX, None)
    }

    /// The same, each signed by a key of its block's team, if there are keys.
    pub(crate) fn from_carried(
        components: impl IntoIterator<Item = Carried>,
        most_bytes: u64,
        keys: Option<&Keys>,
    ) -> Result<Components, LoadError> {
        Components::collect(components.into_iter().map(|Carried { name, bytes, signature }| {
            let loaded = fits(bytes.len() as u64, most_bytes)
                .and_then(|()| checked(&bytes, || signature.map(Cow::into_owned), keys))
                .map(|(manifest, digest)| Component { manifest, digest, source: Source::Bytes { name: name.clone(), bytes } });
            (name, loaded)
        }))
    }

    /// Puts two sets together.
    ///
    /// # Errors
    ///
    /// If an id is in both.
    pub fn and(self, other: Components) -> Result<Components, LoadError> {
        Components::collect(self.0.into_iter().chain(other.0).map(|component| (component.source.to_string(), Ok(component))))
    }

    /// A set of one.
    #[cfg(feature = "cli")]
    pub(crate) fn one(component: Component) -> Components {
        Components(vec![component])
    }

    /// Puts two sets together; of an id that is in both, ours stays.
    #[cfg(feature = "cli")]
    pub(crate) fn or(mut self, other: Components) -> Components {
        let new = other.0.into_iter().filter(|one| !self.0.iter().any(|ours| ours.manifest.id == one.manifest.id));
        let new: Vec<Component> = new.collect();
        self.0.extend(new);
        self.0.sort_unstable_by(|a, b| a.manifest.id.cmp(&b.manifest.id));
        self
    }

    /// The same, with all bytes read.
    #[cfg(feature = "cli")]
    pub(crate) fn in_memory(self) -> Result<Components, LoadError> {
        Components::collect(self.0.into_iter().map(|component| {
            let name = component.origin();
            let read = component.bytes().map(|bytes| Cow::Owned(bytes.into_owned()));
            let held = read.map(|bytes| Component {
                source: Source::Bytes { name: name.clone(), bytes },
                manifest: component.manifest.clone(),
                digest: component.digest,
            });
            (name, held)
        }))
    }

    /// Puts what was loaded together, each with its name for errors.
    fn collect<N: fmt::Display>(loaded: impl Iterator<Item = (N, Result<Component, Problem>)>) -> Result<Components, LoadError> {
        let (mut names, mut components, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (name, loaded)) in loaded.enumerate() {
            names.push(name);
            match loaded {
                Ok(component) => components.push((place, component)),
                Err(problem) => problems.push((place, problem)),
            }
        }
        components.sort_by(|(_, one), (_, other)| one.manifest.id.cmp(&other.manifest.id));
        let name = |place: usize| names.get(place).map(N::to_string).unwrap_or_default();
        for same in components.chunk_by(|(_, one), (_, other)| one.manifest.id == other.manifest.id) {
            let [(first, _), others @ ..] = same else { continue };
            let duplicate = |id: &BlockId| Problem::Duplicate { id: id.to_string(), other: name(*first) };
            problems.extend(others.iter().map(|(place, other)| (*place, duplicate(&other.manifest.id))));
        }
        if problems.is_empty() {
            return Ok(Components(components.into_iter().map(|(_, component)| component).collect()));
        }
        problems.sort_by_key(|(place, _)| *place);
        Err(LoadError(problems.into_iter().map(|(place, problem)| (name(place), problem)).collect()))
    }

    fn sorted(mut components: Vec<Component>) -> Components {
        components.sort_unstable_by(|a, b| a.manifest.id.cmp(&b.manifest.id));
        Components(components)
    }

    #[cfg(test)]
    pub(crate) fn planned(components: Vec<Component>) -> Components {
        Components(components)
    }

    /// One after the other, by id.
    pub fn iter(&self) -> std::slice::Iter<'_, Component> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Component> {
        self.0.get(place)
    }

    /// Changes when any id or component does.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_all(self.0.iter().map(|component| (&*component.manifest.id, &component.digest)))
    }
}

impl Component {
    /// Where it came from: the file, or the name that it was given.
    pub fn origin(&self) -> String {
        self.source.to_string()
    }

    /// A component that is planned with and never run.
    #[cfg(test)]
    pub(crate) fn planned(manifest: Manifest) -> Component {
        let source = Source::Bytes { name: manifest.id.to_string(), bytes: Cow::Borrowed(&[]) };
        Component { manifest, digest: Digest::of(&[]), source }
    }

    /// Loads one component from a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_file(path: &Path, most_bytes: u64) -> Result<Component, LoadError> {
        let loaded = read(path, most_bytes).and_then(|bytes| {
            Ok(Component {
                manifest: component::inspect(&bytes)?,
                digest: Digest::of(&bytes),
                source: Source::File(path.to_owned()),
            })
        });
        loaded.map_err(|problem| LoadError(vec![(path.display().to_string(), problem)]))
    }

    /// The interfaces that it imports and exports, by name.
    ///
    /// # Errors
    ///
    /// If the file cannot be read any more.
    pub fn interfaces(&self) -> Result<Interfaces, LoadError> {
        self.bytes().and_then(|bytes| component::interfaces(&bytes)).map_err(|problem| LoadError(vec![(self.origin(), problem)]))
    }

    /// Its code for an engine, if it came with any that may be trusted.
    pub(crate) fn code(&self, engine: u64) -> Option<Vec<u8>> {
        match &self.source {
            Source::Bundle { bundle, place } => bundle.code(*place, engine),
            Source::File(_) | Source::Bytes { .. } => None,
        }
    }

    /// The file that it is.
    fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Bytes { .. } | Source::Bundle { .. } => None,
        }
    }

    /// The signature that came with it.
    pub(crate) fn signature(&self) -> Option<String> {
        match &self.source {
            Source::File(path) => signature::signature_of(path),
            Source::Bytes { .. } => None,
            Source::Bundle { bundle, place } => bundle.signature_of(*place).map(str::to_owned),
        }
    }

    /// The bytes, certainly those that were planned with.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, Problem> {
        match &self.source {
            Source::Bytes { bytes, .. } => Ok(Cow::Borrowed(bytes)),
            Source::Bundle { bundle, place } => bundle.component(*place, u64::MAX),
            Source::File(path) => {
                let bytes = fs::read(path).map_err(Problem::Unreadable)?;
                if Digest::of(&bytes) != self.digest {
                    return Err(Problem::Replaced);
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

pub use component::Interfaces;

/// The components of a folder, in the order of their names.
fn wasm_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn read(path: &Path, most_bytes: u64) -> Result<Vec<u8>, Problem> {
    fits(fs::metadata(path).map_err(Problem::Unreadable)?.len(), most_bytes)?;
    fs::read(path).map_err(Problem::Unreadable)
}

fn fits(size: u64, most: u64) -> Result<(), Problem> {
    if size > most { Err(Problem::TooLarge { size, most }) } else { Ok(()) }
}

/// A component's manifest and digest. Who signed it is known before anything of it is read that somebody else could have written.
fn checked(bytes: &[u8], signature: impl FnOnce() -> Option<String>, keys: Option<&Keys>) -> Result<(Manifest, Digest), Problem> {
    let digest = Digest::of(bytes);
    let signers = keys.map(|keys| keys.signers(&digest, signature().as_deref())).transpose()?;
    let manifest = component::inspect(bytes)?;
    if let Some(signers) = signers {
        Keys::of_team(manifest.team.as_deref(), &signers)?;
    }
    Ok((manifest, digest))
}

/// Maps over items on all processors, keeping their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Below this, a thread costs more than it saves.
    const LEAST: usize = 16;
    let threads = thread::available_parallelism().map_or(1, Into::into).min(items.len() / LEAST).max(1);
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    thread::scope(|scope| {
        let chunks: Vec<_> = items
            .chunks(items.len().div_ceil(threads))
            .map(|chunk| (chunk, scope.spawn(|| chunk.iter().map(&work).collect::<Vec<R>>())))
            .collect();
        chunks
            .into_iter()
            .flat_map(|(chunk, thread)| thread.join().unwrap_or_else(|_| chunk.iter().map(&work).collect()))
            .collect()
    })
}
