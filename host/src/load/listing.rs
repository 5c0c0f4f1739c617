//! A set of blocks that is known without reading one of them.

use super::{Bundle, Components, Index, Keys, LoadError, seen::Known};

/// The one source of a host's blocks, if it tells what is in it.
#[derive(Debug)]
pub(crate) enum Listing {
    /// A bundle that this host put in order.
    Bundle(Bundle),
    /// A folder whose files are those that the cache knows.
    Folder(Box<Known>),
}

impl Listing {
    /// What is in it, in the order in which it runs.
    pub(crate) fn index(&self) -> &Index {
        match self {
            Listing::Bundle(bundle) => bundle.index(),
            Listing::Folder(known) => &known.index,
        }
    }

    /// Where it is, for errors.
    pub(crate) fn origin(&self) -> String {
        match self {
            Listing::Bundle(bundle) => bundle.name().to_owned(),
            Listing::Folder(known) => known.folder().display().to_string(),
        }
    }

    /// The blocks themselves; none if what is kept of a folder cannot be read.
    pub(crate) fn components(&self, most_bytes: u64, keys: Option<&Keys>) -> Result<Option<Components>, LoadError> {
        match self {
            Listing::Bundle(bundle) => Components::from_bundle(bundle, most_bytes, keys).map(Some),
            Listing::Folder(known) => Ok(known.components()),
        }
    }
}
