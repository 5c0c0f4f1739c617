//! What is to be tested: components with their fixtures.

use crate::{
    Component, Components, Limits,
    cli::build::{self, Built},
};
use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A block with its fixture.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) component: Component,
    pub(super) file: PathBuf,
    /// SQL files, in order.
    pub(super) fixtures: Vec<PathBuf>,
}

/// The blocks that a path means: a component file, a crate, or a folder of either.
///
/// With `components`, crates are not built: their components are looked up there, by id.
pub(super) fn subjects(path: &Path, components: Option<&Path>, fixtures: Option<&Path>) -> anyhow::Result<Vec<Subject>> {
    if path.is_file() {
        let beside = path.parent().unwrap_or(Path::new(".")).join("fixtures");
        return Ok(vec![subject(path, fixtures.unwrap_or(&beside))?]);
    }
    let crates = build::crates(path)?;
    if crates.is_empty() {
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        files.sort();
        if files.is_empty() {
            bail!("{} has neither crates of blocks nor components in it", path.display());
        }
        let beside = path.join("fixtures");
        return files.iter().map(|file| subject(file, fixtures.unwrap_or(&beside))).collect();
    }
    let built = match components {
        None => build::build(path, None)?,
        Some(components) => crates.into_iter().map(|folder| found(folder, components)).collect::<anyhow::Result<Vec<Built>>>()?,
    };
    built.iter().map(|built| subject(&built.component, fixtures.unwrap_or(&built.folder.join("fixtures")))).collect()
}

/// A crate whose component was built before.
fn found(folder: PathBuf, components: &Path) -> anyhow::Result<Built> {
    let manifest = folder.join("block.toml");
    let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    let id = plinth_manifest::Manifest::parse(&text).with_context(|| manifest.display().to_string())?.id;
    let component = components.join(format!("{id}.wasm"));
    if !component.is_file() {
        bail!("{} is not there: build {} first, or leave --components out", component.display(), folder.display());
    }
    Ok(Built { folder, component })
}

fn subject(file: &Path, fixtures: &Path) -> anyhow::Result<Subject> {
    let component = Component::from_file(file, Limits::default().component_bytes)?;
    // A folder of the block's own first: several components may lie side by side.
    let own = fixtures.join(&*component.manifest.id);
    let folder = if own.is_dir() { own } else { fixtures.to_owned() };
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(Subject { component, file: file.to_owned(), fixtures: files })
}

/// The blocks that others may require: those of a folder.
pub(super) fn others(folder: &Path) -> anyhow::Result<Components> {
    Ok(Components::from_folder(folder, Limits::default().component_bytes)?)
}
