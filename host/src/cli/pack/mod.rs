//! `plinth pack`: a block that is SQL alone, without any toolchain; or a component of any language, which gets its manifest.

mod component;
mod file;

use super::print;
use crate::Components;
use anyhow::{Context, bail};
use clap::Args;
use file::File;
use plinth_manifest::Manifest;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The component that runs SQL; empty if this command was built without it.
const GENERIC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sql.wasm"));

/// The arguments of `plinth pack`.
#[derive(Debug, Args)]
pub(super) struct PackArguments {
    /// A file of SQL: its manifest in a comment, the work, `-- plinth: verify`, the post-conditions. Or a component without a
    /// manifest, which is then block.toml beside it
    file: PathBuf,
    /// The component to write, or the folder for it, made if it is missing [default: ID.wasm beside the file]
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
}

pub(super) fn pack(arguments: &PackArguments) -> u8 {
    match make(&arguments.file, arguments.out.as_deref()) {
        Ok(out) => {
            print::say(&out.display().to_string());
            0
        }
        Err(error) => {
            print::error(&format!("{}: {error:#}", arguments.file.display()));
            super::USAGE
        }
    }
}

fn make(path: &Path, out: Option<&Path>) -> anyhow::Result<PathBuf> {
    let source = fs::read(path)?;
    let (manifest, bytes) = if source.starts_with(b"\0asm") { described(path, &source)? } else { of_sql(source)? };
    // Whatever is wrong with it, a host must not be the first to say so.
    Components::from_bytes([(format!("{}.wasm", manifest.id), bytes.clone())])?;
    let name = format!("{}.wasm", manifest.id);
    let out = match out {
        None => path.with_file_name(name),
        Some(folder) if folder.extension().is_none_or(|extension| extension != "wasm") => {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            folder.join(name)
        }
        Some(file) => file.to_owned(),
    };
    fs::write(&out, bytes).with_context(|| out.display().to_string())?;
    Ok(out)
}

fn of_sql(source: Vec<u8>) -> anyhow::Result<(Manifest, Vec<u8>)> {
    if GENERIC.is_empty() {
        bail!(
            "this plinth was built without the component that runs SQL: run `make generic` in its repository, and build the command \
             again"
        );
    }
    let file = File::read(&String::from_utf8(source).context("it is neither SQL in UTF-8 nor a component")?)?;
    let bytes = component::packed(GENERIC, &file.text, &file.room()?).context("the component that runs SQL cannot be packed")?;
    Ok((file.manifest, bytes))
}

/// A component that a toolchain of another language made: its manifest is the file beside it.
fn described(path: &Path, component: &[u8]) -> anyhow::Result<(Manifest, Vec<u8>)> {
    let file = path.with_file_name("block.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("{}, the component's manifest", file.display()))?;
    let manifest = Manifest::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok((manifest, component::described(component, &text)))
}
