//! What a component file says without being compiled.

use crate::contract::{PACKAGE, VERSION};
use plinth_manifest::{Kind, Manifest, ManifestError, SECTION};
use std::io;
use wasmparser::{Encoding, Parser, Payload};

/// What is wrong with a component file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Unwritable(#[source] io::Error),
    /// A block of it cannot be compiled.
    #[error("a block cannot be compiled: {0}")]
    NotCompiled(String),
    /// It is no bundle, or a damaged one.
    #[error("is no bundle that can be read: {0}; `plinth bundle` makes one")]
    NoBundle(String),
    /// It is larger than a component may be.
    #[error("has {size} bytes, a component may have {most}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// It is damaged or something else.
    #[error("is no WebAssembly component: {0}")]
    Malformed(String),
    /// It is a core module.
    #[error(
        "is a core WebAssembly module and no component: build it with `cargo component build`, or turn it into one with `wasm-tools component new`"
    )]
    CoreModule,
    /// It carries no manifest.
    #[error(
        "carries no manifest: the block's crate needs a block.toml and plinth_block::migration!, plinth_block::rule! or plinth_block::backfill!"
    )]
    NoManifest,
    /// It carries more than one manifest.
    #[error("carries {0} manifests: a component is one block")]
    ManyManifests(usize),
    /// Its manifest is wrong.
    #[error("manifest, {0}")]
    Manifest(#[from] ManifestError),
    /// It wants something that a block has no right to.
    #[error("imports {import}, which a block has no right to: {hint}")]
    Import {
        /// The import.
        import: String,
        /// What to do.
        hint: &'static str,
    },
    /// It was built for another version of the contract.
    #[error("was built for {interface}, this host speaks {PACKAGE}…@{}.{}: {}", VERSION.0, VERSION.1, "update the older of the two")]
    Version {
        /// The interface with its version.
        interface: String,
    },
    /// It does not export what its kind needs.
    #[error("is a {kind} by its manifest, but exports no {PACKAGE}{interface}: use plinth_block::{kind}! in its code")]
    World {
        /// What the manifest says.
        kind: Kind,
        /// The interface that is missing.
        interface: &'static str,
    },
    /// Another file has the same id.
    #[error("has the id {id}, which {other} has as well: an id is given once")]
    Duplicate {
        /// The id.
        id: String,
        /// The other file.
        other: String,
    },
    /// Nobody signed it, and keys were given.
    #[error("is not signed: `plinth sign` writes a signature beside it, and a program hands it over with the component")]
    Unsigned,
    /// None of the keys signed this file.
    #[error("is signed by none of the keys, or was changed after it was signed")]
    WrongSignature,
    /// A team's key signs its own blocks.
    #[error("is of {team} by its manifest, and signed by a key of {signers}: a key signs the blocks of its own team")]
    OtherTeam {
        /// The team of the manifest.
        team: String,
        /// The teams whose key signed it.
        signers: String,
    },
    /// The lock file is none.
    #[error("is no lock file: {0}")]
    NoLock(String),
    /// The lock file does not know it.
    #[error("{id} is not in the lock file: review it, then `plinth lock`")]
    NotLocked {
        /// The id.
        id: String,
    },
    /// The lock file knows another one.
    #[error("{id} is not what the lock file says: digest {found}, locked is {locked}: review it, then `plinth lock`")]
    LockedOtherwise {
        /// The id.
        id: String,
        /// What the lock file says.
        locked: String,
        /// What was found.
        found: String,
    },
    /// The lock file names a block that is not there.
    #[error("names {id}, whose component is gone: review that, then `plinth lock`")]
    LockedAndGone {
        /// The id.
        id: String,
    },
    /// It is another file than when it was loaded.
    #[error("was replaced while the boot ran: start it again")]
    Replaced,
}

/// The interfaces of a component, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Interfaces {
    /// What it imports: its rights.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

struct Parts<'a> {
    interfaces: Interfaces,
    manifests: Vec<&'a [u8]>,
}

/// Reads a component's manifest and checks that this host can run it.
pub(super) fn inspect(bytes: &[u8]) -> Result<Manifest, Problem> {
    let parts = parts(bytes)?;
    for import in &parts.interfaces.imports {
        check_import(import)?;
    }
    let manifest = match parts.manifests.as_slice() {
        [] => return Err(Problem::NoManifest),
        [only] => std::str::from_utf8(only).map_err(|_| Problem::Malformed("its manifest is no UTF-8".into()))?,
        many => return Err(Problem::ManyManifests(many.len())),
    };
    let manifest = Manifest::parse(manifest)?;
    let interface = crate::contract::exported_by(manifest.kind);
    if !parts.interfaces.exports.iter().any(|name| is_interface(name, interface)) {
        let elsewhere = parts.interfaces.exports.iter().find(|name| name.starts_with(&format!("{PACKAGE}{interface}@")));
        return Err(match elsewhere {
            Some(name) => Problem::Version { interface: name.clone() },
            None => Problem::World { kind: manifest.kind, interface },
        });
    }
    Ok(manifest)
}

/// The interfaces of a component.
pub(super) fn interfaces(bytes: &[u8]) -> Result<Interfaces, Problem> {
    parts(bytes).map(|parts| parts.interfaces)
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Problem> {
    let malformed =
        |error: wasmparser::BinaryReaderError| Problem::Malformed(format!("{}, at byte {}", error.message(), error.offset()));
    // wasmparser tells this in a dozen lines.
    if !bytes.starts_with(b"\0asm") {
        let found = if bytes.is_empty() { "it is empty" } else { "it does not begin like one" };
        return Err(Problem::Malformed(found.into()));
    }
    let mut parts = Parts { interfaces: Interfaces::default(), manifests: Vec::new() };
    let mut depth = 0_usize;
    let mut first = true;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding, .. } => {
                if first && encoding == Encoding::Module {
                    return Err(Problem::CoreModule);
                }
                if !first {
                    depth += 1;
                }
                first = false;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    parts.interfaces.imports.push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    parts.interfaces.exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            // The linker puts it into the core module inside.
            Payload::CustomSection(section) if section.name() == SECTION => parts.manifests.push(section.data()),
            _ => {}
        }
    }
    Ok(parts)
}

fn check_import(import: &str) -> Result<(), Problem> {
    const RIGHTS: [&str; 4] = ["types", "sql", "bulk", "journal"];
    if RIGHTS.iter().any(|right| is_interface(import, right)) {
        return Ok(());
    }
    if RIGHTS.iter().any(|right| import.starts_with(&format!("{PACKAGE}{right}@"))) {
        return Err(Problem::Version { interface: import.to_owned() });
    }
    let hint = if import.starts_with("wasi:") {
        "build with `cargo component build --target wasm32-unknown-unknown`, since the default target adds WASI"
    } else if import.starts_with(PACKAGE) {
        "this host does not offer it; a newer one may"
    } else {
        "a block gets nothing but the database and a journal"
    };
    Err(Problem::Import { import: import.to_owned(), hint })
}

/// Whether a name is an interface of the contract in a version that links with ours.
pub(crate) fn is_interface(name: &str, interface: &str) -> bool {
    let version =
        name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix(interface)).and_then(|rest| rest.strip_prefix('@'));
    let Some(version) = version else { return false };
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_track_link() {
        assert!(is_interface("plinth:block/sql@0.1.0", "sql"));
        assert!(is_interface("plinth:block/sql@0.1.7", "sql"));
        assert!(!is_interface("plinth:block/sql@0.2.0", "sql"));
        assert!(!is_interface("plinth:block/sql@1.1.0", "sql"));
        assert!(!is_interface("plinth:block/sqlx@0.1.0", "sql"));
        assert!(!is_interface("plinth:block/sql", "sql"));
    }

    #[test]
    fn what_is_no_component_is_refused_and_never_a_panic() {
        assert!(matches!(inspect(b""), Err(Problem::Malformed(_))));
        assert!(matches!(inspect(b"#!/bin/sh"), Err(Problem::Malformed(_))));
        assert!(matches!(inspect(b"\0asm\x01\0\0\0"), Err(Problem::CoreModule)));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0"), Err(Problem::NoManifest)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_bytes_make_loading_panic(
            changes in proptest::collection::vec((0_usize..60_000, proptest::prelude::any::<u8>()), 0..40),
            length in 0_usize..60_000,
            section in ".{0,200}",
        ) {
            // Published components, damaged: what a fuzzer would come to after a while.
            let mut bytes = include_bytes!("../../../tests/fixtures/contract-0.1.0/rule_sets_a.wasm").to_vec();
            assert!(inspect(&bytes).is_ok());
            for (at, to) in &changes {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte = *to;
                }
            }
            let _ = inspect(&bytes);
            bytes.truncate(length);
            let _ = (inspect(&bytes), interfaces(&bytes), Manifest::parse(&section));
        }
    }
}
