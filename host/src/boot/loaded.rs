//! The blocks of a boot: listed, which is enough to see that there is nothing to do, then loaded. Nothing of the database is known yet.

use crate::{
    error::BootError,
    host::Host,
    load::{Components, Listing, LoadError, Problem, Seen},
    plan::{self, PlanError, PlanProblem},
};
use plinth_manifest::Kind;
use std::{path::Path, sync::OnceLock};

/// The components of a boot, in order.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) components: Components,
    pub(crate) order: Vec<usize>,
    pub(crate) digest: String,
}

impl Loaded {
    /// Loads and orders. All problems at once, and none of them needs a database to be found.
    pub(crate) fn new(host: &Host) -> Result<Loaded, BootError> {
        let Listed { listing, loaded, .. } = Listed::new(host)?;
        loaded.into_inner().map_or_else(|| Loaded::listed(host, listing.as_ref()), Ok)
    }

    /// The blocks of a listing, or of a host that has none. What is listed was put in order and held against each other when it was.
    fn listed(host: &Host, listing: Option<&Listing>) -> Result<Loaded, BootError> {
        if let Some(listing) = listing
            && let Some(components) = listing.components(host.limits.component_bytes, host.trusted_keys())?
        {
            let index = listing.index();
            return Ok(Loaded { components, order: index.order(), digest: index.digest.to_string() });
        }
        Loaded::of(host, host.load()?)
    }

    fn of(host: &Host, components: Components) -> Result<Loaded, BootError> {
        let mut problems: Vec<PlanProblem> = missing(host, components.iter().map(|component| &*component.manifest.id));
        let manifests: Vec<_> = components.iter().map(|component| &component.manifest).collect();
        problems.extend(plan::conflicts(&manifests));
        let order = plan::order(&manifests).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(PlanError(problems).into());
        }
        let digest = components.digest().to_string();
        Ok(Loaded { components, order, digest })
    }
}

/// Writes a host's blocks as a bundle, and returns how many they are.
pub(crate) fn bundle(host: &Host, file: &Path, compile: bool) -> Result<usize, BootError> {
    let Loaded { components, order, .. } = Loaded::new(host)?;
    let compiled = if compile {
        let in_order = order.iter().filter_map(|place| components.get(*place));
        let compiled = host.sandbox()?.compiled(in_order);
        Some(compiled.map_err(|reason| LoadError::one(file.display().to_string(), Problem::NotCompiled(reason)))?)
    } else {
        None
    };
    components.bundle(&order, compiled.as_ref(), file)?;
    Ok(components.len())
}

/// Blocks that the build ships and that are not there.
fn missing<'a>(host: &Host, there: impl Iterator<Item = &'a str>) -> Vec<PlanProblem> {
    let there: std::collections::BTreeSet<&str> = there.collect();
    let missing = host.expected.iter().filter(|id| !there.contains(id.as_str()));
    missing.map(|id| PlanProblem::Expected { id: id.clone() }).collect()
}

/// What is known of a boot's blocks so far.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Of the set.
    pub(crate) digest: String,
    /// Ids and kinds, in order.
    pub(crate) blocks: Vec<(Box<str>, Kind)>,
    listing: Option<Listing>,
    loaded: OnceLock<Loaded>,
}

impl Listed {
    /// Lists the blocks. Where nothing tells what they are, they are loaded for that.
    pub(crate) fn new(host: &Host) -> Result<Listed, BootError> {
        let seen = host.seen();
        let Some(listing) = host.listing(seen.as_ref())? else {
            let loaded = Loaded::of(host, host.load()?)?;
            if let Some(seen) = seen {
                seen.keep(&loaded.components, &loaded.order);
            }
            let in_order = loaded.order.iter().filter_map(|place| loaded.components.get(*place));
            let blocks = in_order.map(|component| (component.manifest.id.to_string().into(), component.manifest.kind)).collect();
            return Ok(Listed { digest: loaded.digest.clone(), blocks, listing: None, loaded: OnceLock::from(loaded) });
        };
        let index = listing.index();
        host.check_lock(index.entries.iter().map(|entry| (&*entry.id, entry.digest)), |_| listing.origin())?;
        let problems = missing(host, index.entries.iter().map(|entry| &*entry.id));
        if !problems.is_empty() {
            return Err(PlanError(problems).into());
        }
        let blocks = index.entries.iter().map(|entry| (entry.id.clone(), entry.kind)).collect();
        Ok(Listed { digest: index.digest.to_string(), blocks, listing: Some(listing), loaded: OnceLock::new() })
    }

    pub(crate) fn has_rules(&self) -> bool {
        self.blocks.iter().any(|(_, kind)| *kind == Kind::Rule)
    }

    /// The blocks themselves.
    pub(crate) fn loaded(&self, host: &Host) -> Result<&Loaded, BootError> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = Loaded::listed(host, self.listing.as_ref())?;
        Ok(self.loaded.get_or_init(|| loaded))
    }
}

impl Host {
    /// The files of the folder that all blocks come from, if there is a cache that could know them. Signatures are looked at every
    /// time.
    fn seen(&self) -> Option<Seen> {
        let (folder, cache) = (self.only_folder()?, self.cache_folder()?);
        if self.trusted_keys().is_some() {
            return None;
        }
        Seen::look(folder, cache).inspect_err(|error| tracing::debug!(%error, "the folder cannot be looked up in the cache")).ok()
    }

    /// What tells the blocks without reading them, if anything does.
    fn listing(&self, seen: Option<&Seen>) -> Result<Option<Listing>, BootError> {
        if let Some(bundle) = self.only_bundle()? {
            // Another host may put them in another order, or find that they cannot run. With keys, who made the index must be known.
            let known = bundle.index().is_ours() && bundle.is_vouched_for(self.trusted_keys());
            return Ok(known.then_some(Listing::Bundle(bundle)));
        }
        Ok(seen.and_then(Seen::known).map(|known| Listing::Folder(Box::new(known))))
    }
}
