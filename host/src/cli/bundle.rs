//! `plinth bundle`, `compile`, `compare`, `unpack`: many components as one file.

use super::{FAILED, USAGE, WAITING, arguments::Format, print};
use crate::{Bundle, Component, Components, Host, Keys, Limits, LoadError};
use clap::Args;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
pub(super) struct BundleArguments {
    /// The folder with the components
    blocks: PathBuf,
    /// The bundle to write; one that is there is replaced when the new one is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Put code for this machine's kind of processor into it as well, so that a boot compiles nothing
    #[arg(long)]
    compile: bool,
    /// The keys of teams: refuse components that are not signed by their own team's
    #[arg(long, env = "PLINTH_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompileArguments {
    /// The bundle
    bundle: PathBuf,
    /// Where to write it [default: in its place]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// A bundle, or a folder with components
    old: PathBuf,
    /// Another one
    new: PathBuf,
    /// How to print the difference
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct UnpackArguments {
    /// The bundle
    bundle: PathBuf,
    /// The folder for its components; made if it is not there
    folder: PathBuf,
}

pub(super) fn bundle(arguments: &BundleArguments) -> u8 {
    let keys = match arguments.keys.as_deref().map(Keys::from_file).transpose() {
        Ok(keys) => keys,
        Err(error) => return told(&error, USAGE),
    };
    let host = nowhere().folder(&arguments.blocks);
    let host = keys.into_iter().fold(host, Host::keys);
    written(&host, &arguments.output, arguments.compile)
}

pub(super) fn compile(arguments: &CompileArguments) -> u8 {
    let output = arguments.output.as_deref().unwrap_or(&arguments.bundle);
    written(&nowhere().bundle(&arguments.bundle), output, true)
}

/// A host that needs no database.
fn nowhere() -> Host {
    Host::new(tokio_postgres::Config::new())
}

fn written(host: &Host, output: &Path, compile: bool) -> u8 {
    match host.write_bundle(output, compile) {
        Ok(blocks) => {
            let bytes = fs::metadata(output).map_or(0, |file| file.len());
            let code = if compile { ", with compiled code" } else { "" };
            print::text(&format!("{}: {blocks} blocks, {bytes} bytes{code}\n", output.display()));
            0
        }
        Err(error) => told(&error, USAGE),
    }
}

/// A bundle, as `plinth inspect` lists it.
#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) blocks: Vec<ListedBlock>,
}

#[derive(Serialize)]
pub(super) struct ListedBlock {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) digest: String,
    pub(super) bytes: u64,
    pub(super) code_bytes: Option<u64>,
    pub(super) signed: bool,
}

pub(super) fn listed(file: &Path) -> Result<Listed, LoadError> {
    let bundle = Bundle::open(file)?;
    let blocks = bundle.blocks().map(|block| ListedBlock {
        id: block.id,
        kind: block.kind.as_str(),
        digest: block.digest.to_string(),
        bytes: block.bytes,
        code_bytes: block.code_bytes,
        signed: block.signed,
    });
    Ok(Listed {
        file: file.display().to_string(),
        bytes: fs::metadata(file).map_or(0, |file| file.len()),
        blocks: blocks.collect(),
    })
}

/// What is otherwise in a second set of blocks.
#[derive(Default, Serialize)]
pub(super) struct Difference {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
}

pub(super) fn compare(arguments: &CompareArguments) -> u8 {
    let digests = |path: &Path| {
        let set = components(path)?;
        Ok::<_, LoadError>(set.iter().map(|block| (block.manifest.id.to_string(), block.digest)).collect::<BTreeMap<_, _>>())
    };
    let (old, new) = match digests(&arguments.old).and_then(|old| Ok((old, digests(&arguments.new)?))) {
        Ok(both) => both,
        Err(error) => return told(&error, USAGE),
    };
    let without = |these: &BTreeMap<String, _>, those: &BTreeMap<String, _>| {
        these.keys().filter(|id| !those.contains_key(*id)).cloned().collect()
    };
    let changed = old.iter().filter(|(id, digest)| new.get(*id).is_some_and(|now| now != *digest));
    let difference = Difference {
        added: without(&new, &old),
        removed: without(&old, &new),
        changed: changed.map(|(id, _)| id.clone()).collect(),
    };
    match arguments.format {
        Format::Json => print::json(&difference),
        Format::Table => {
            let lines = |sign: &str, ids: &[String]| ids.iter().map(|id| format!("{sign} {id}\n")).collect::<String>();
            print::text(&(lines("-", &difference.removed) + &lines("+", &difference.added) + &lines("~", &difference.changed)));
        }
    }
    let same = difference.added.is_empty() && difference.removed.is_empty() && difference.changed.is_empty();
    if same { 0 } else { WAITING }
}

fn components(path: &Path) -> Result<Components, LoadError> {
    let most = Limits::default().component_bytes;
    if path.is_dir() {
        return Components::from_folder(path, most);
    }
    Components::from_bundle(&Bundle::open(path)?, most, None)
}

pub(super) fn unpack(arguments: &UnpackArguments) -> u8 {
    let set = match components(&arguments.bundle) {
        Ok(set) => set,
        Err(error) => return told(&error, USAGE),
    };
    if let Err(error) = fs::create_dir_all(&arguments.folder) {
        return told(&format!("{}: {error}", arguments.folder.display()), FAILED);
    }
    for block in set.iter() {
        if let Err(error) = unpacked(block, &arguments.folder) {
            return told(&error, FAILED);
        }
    }
    0
}

fn unpacked(block: &Component, folder: &Path) -> Result<(), String> {
    let path = folder.join(format!("{}.wasm", block.manifest.id));
    let wrong = |path: &Path, error: &dyn Display| format!("{}: {error}", path.display());
    let bytes = block.bytes().map_err(|problem| wrong(&path, &problem))?;
    fs::write(&path, bytes).map_err(|error| wrong(&path, &error))?;
    if let Some(signature) = block.signature() {
        let beside = path.with_extension("wasm.sig");
        fs::write(&beside, signature).map_err(|error| wrong(&beside, &error))?;
    }
    Ok(())
}

fn told(error: &dyn Display, code: u8) -> u8 {
    print::error(&error.to_string());
    code
}
