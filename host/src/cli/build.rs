//! `plinth build`: from a block's crate to its component, on a machine that has Rust and nothing prepared.
//!
//! The command carries the two scripts that Plinth's own blocks are built with. They find a wasm toolchain (rustup's, or the
//! distribution's packages where rustup's server cannot be reached), and build cargo-component once.

use super::print;
use crate::{Component, Limits};
use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const SCRIPTS: [(&str, &str); 2] =
    [("toolchain.sh", include_str!("../../../blocks/toolchain.sh")), ("build.sh", include_str!("../../../blocks/build.sh"))];

/// The arguments of `plinth build`.
#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// A block's crate, or a folder of them
    #[arg(value_name = "CRATE", default_value = ".")]
    path: PathBuf,
    /// Where the components go, a file per id [default: target/blocks of the crate's workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn command(arguments: &BuildArguments) -> u8 {
    match build(&arguments.path, arguments.out.as_deref()) {
        Ok(built) => {
            for block in built {
                print::say(&format!("{}", block.component.display()));
            }
            0
        }
        Err(error) => {
            print::error(&format!("{error:#}"));
            super::FAILED
        }
    }
}

/// A crate with its component.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) folder: PathBuf,
    pub(super) component: PathBuf,
}

/// Whether a folder is the crate of a block.
pub(super) fn is_crate(folder: &Path) -> bool {
    folder.join("block.toml").is_file() && folder.join("Cargo.toml").is_file()
}

/// The crates of blocks that a path means: itself, or those in it.
pub(super) fn crates(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if is_crate(path) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_crate(path)).collect();
    found.sort();
    Ok(found)
}

/// Builds a crate, or all crates of a folder.
pub(super) fn build(path: &Path, out: Option<&Path>) -> anyhow::Result<Vec<Built>> {
    let found = crates(path)?;
    if found.is_empty() {
        bail!("{} is no block's crate and has none in it: a block has a Cargo.toml and a block.toml", path.display());
    }
    // Crates of one workspace are built by one run.
    let mut workspaces: BTreeMap<PathBuf, (PathBuf, Vec<(PathBuf, String)>)> = BTreeMap::new();
    for folder in found {
        let metadata = metadata(&folder)?;
        let out = out.map_or_else(|| metadata.target_directory.join("blocks"), Path::to_owned);
        let name = metadata.name_of(&folder)?;
        workspaces.entry(metadata.workspace_root).or_insert((out, Vec::new())).1.push((folder, name));
    }
    let scripts = scripts()?;
    let mut built = Vec::new();
    for (workspace, (out, crates)) in workspaces {
        let mut build = Command::new("bash");
        build.arg(scripts.join("blocks/build.sh")).args([&workspace, &out]).arg("block_");
        for (_, name) in &crates {
            build.args(["-p", name]);
        }
        if std::env::var_os("PLINTH_TOOLS").is_none() {
            build.env("PLINTH_TOOLS", scripts.join("tools"));
        }
        // What it says is for people; ours is the list of components.
        let ended = build.stdout(Stdio::null()).status().context("bash cannot be started")?;
        if !ended.success() {
            bail!("the components were not built, see above");
        }
        for (folder, name) in crates {
            built.push(Built { component: named_by_id(&out, &name)?, folder });
        }
    }
    Ok(built)
}

/// The file of a crate, under its block's id. cargo names it after the crate, in which `-` is `_`.
fn named_by_id(out: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let file = name.replace('-', "_");
    let file = out.join(format!("{}.wasm", file.strip_prefix("block_").unwrap_or(&file)));
    let id = Component::from_file(&file, Limits::default().component_bytes)?.manifest.id;
    let named = out.join(format!("{id}.wasm"));
    if named != file {
        fs::copy(&file, &named).with_context(|| named.display().to_string())?;
        fs::remove_file(&file)?;
    }
    Ok(named)
}

/// What cargo says about a crate.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Metadata {
    fn name_of(&self, folder: &Path) -> anyhow::Result<String> {
        let manifest = folder.canonicalize()?.join("Cargo.toml");
        let package = self.packages.iter().find(|package| package.manifest_path == manifest);
        Ok(package.with_context(|| format!("cargo does not know {}", manifest.display()))?.name.clone())
    }
}

fn metadata(folder: &Path) -> anyhow::Result<Metadata> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    let output = cargo.output().context("cargo cannot be started: install Rust, https://rustup.rs")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Lays the scripts down in the user's cache, where what they fetch and build stays.
fn scripts() -> anyhow::Result<PathBuf> {
    let folder = super::arguments::cache("authoring").context("neither XDG_CACHE_HOME nor HOME is set")?;
    let blocks = folder.join("blocks");
    fs::create_dir_all(&blocks).with_context(|| blocks.display().to_string())?;
    for (name, text) in SCRIPTS {
        let file = blocks.join(name);
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        // Moved into place: another process may be reading it.
        let fresh = blocks.join(format!(".{name}.{}", std::process::id()));
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &file)).with_context(|| file.display().to_string())?;
    }
    for script in ["toolchain.sh", "build.sh"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(blocks.join(script), fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}
