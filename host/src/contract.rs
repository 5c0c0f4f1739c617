//! What wasmtime makes of the contract. The types below are those of `wit/types.wit`.

use plinth_manifest::Kind;

pub(crate) use bindings::plinth::block::{bulk, journal, sql, types};
pub(crate) use types::{
    Batch, BudgetError, BulkColumn, Check, Column, DatabaseError, Error, Failure, Outcome, Refusal, Rows, Stepped, Value,
    ValueError,
};

#[allow(clippy::all, missing_docs, unused_qualifications, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "rights",
        imports: { default: async | trappable },
        with: {
            "plinth:block/sql.savepoint": crate::contract::SavepointHandle,
            "plinth:block/bulk.cursor": crate::contract::CursorHandle,
        },
    });
}

pub(crate) use bindings::Rights;

plinth_values::contract!(crate::contract::types);

/// The interface that a block of a kind exports.
pub(crate) fn exported_by(kind: Kind) -> &'static str {
    match kind {
        Kind::Migration => "migrate",
        Kind::Rule => "reconcile",
        Kind::Backfill => "fill",
    }
}

/// The version of the contract that this host speaks: components of the same 0.x track link.
pub(crate) const VERSION: (u64, u64) = (0, 1);
/// The package that all rights come from.
pub(crate) const PACKAGE: &str = "plinth:block/";

/// A sub-step that a guest holds, by its number in the session.
pub struct SavepointHandle(pub(crate) u32);

/// A cursor that a guest holds, by its number in the session.
pub struct CursorHandle(pub(crate) u32);

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    /// What was published, by SHA-256 over the names and texts of its files. A line is added with a version, none ever changes.
    const PUBLISHED: [(&str, &str); 4] = [
        ("0.1.0", "4abad1e29cccc9ca9384b9111f34dd32a8995a9bbaad6a5369ffbec46569f688"),
        ("0.1.1", "36a1a25ea647e70dfd5b0ffee33af18557f265c8baaba750670581cb914cfc0a"),
        ("0.1.2", "b719340b94dd6b6fb9414c5e26cc6559b7e42bf7a42402aa5ed819a42db638de"),
        ("0.1.3", "cb9e9fbc9787db3186f348095f921a33ad9c6fcbeb4382c0756ace5dcb6a98f2"),
    ];

    fn wit() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
    }

    fn files(folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let wit = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
        wit.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn what_was_published_never_changes() {
        for (version, digest) in PUBLISHED {
            let mut hasher = Sha256::new();
            for (name, text) in files(&wit().join("published").join(version)) {
                assert!(text.starts_with(&format!("package plinth:block@{version};\n")), "{version}/{name}");
                hasher.update(format!("{name}\0{text}\0"));
            }
            let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, digest, "wit/published/{version} was changed: components that were built with it would not load");
        }
        let folders = fs::read_dir(wit().join("published")).unwrap().count();
        assert_eq!(folders, PUBLISHED.len(), "every published version is kept here");
    }

    #[test]
    fn the_contract_is_the_newest_that_was_published_or_has_a_version_of_its_own() {
        let now = files(&wit());
        let (newest, _) = PUBLISHED[PUBLISHED.len() - 1];
        if now["types.wit"].starts_with(&format!("package plinth:block@{newest};")) {
            assert_eq!(now, files(&wit().join("published").join(newest)), "what differs from {newest} needs another version");
        }
    }
}
