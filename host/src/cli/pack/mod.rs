//! `plinth pack`: a block that is SQL alone, without any toolchain.

mod component;
mod file;

use super::print;
use crate::{Component, Limits};
use anyhow::{Context, bail};
use clap::Args;
use file::File;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The component that runs SQL; empty if this command was built without it.
const GENERIC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sql.wasm"));

/// The arguments of `plinth pack`.
#[derive(Debug, Args)]
pub(super) struct PackArguments {
    /// The file: its manifest in a comment, the work, `-- plinth: verify`, the post-conditions
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
    if GENERIC.is_empty() {
        bail!(
            "this plinth was built without the component that runs SQL: run `make generic` in its repository, and build the command \
             again"
        );
    }
    let source = fs::read_to_string(path)?;
    let file = File::read(&source)?;
    let name = format!("{}.wasm", file.manifest.id);
    let out = match out {
        None => path.with_file_name(name),
        Some(folder) if folder.extension().is_none_or(|extension| extension != "wasm") => {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            folder.join(name)
        }
        Some(file) => file.to_owned(),
    };
    let bytes = component::packed(GENERIC, &file.text, &file.room()?).context("the component that runs SQL cannot be packed")?;
    fs::write(&out, bytes).with_context(|| out.display().to_string())?;
    // Whatever is wrong with it, a host must not be the first to say so.
    Component::from_file(&out, Limits::default().component_bytes)?;
    Ok(out)
}
