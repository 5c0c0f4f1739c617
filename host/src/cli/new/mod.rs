//! `plinth new`: a block's crate that builds and whose tests pass.

use super::print;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use plinth_manifest::BlockId;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The arguments of `plinth new`.
#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// The block's id, for ever: lower-case letters, digits, `_` and `-`
    id: BlockId,
    /// How often it runs
    #[arg(long, value_enum)]
    kind: NewKind,
    /// Where the SDK is: a checkout of Plinth. Without it, the version of this command from the registry
    #[arg(long, env = "PLINTH_SDK", value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// The folder to make [default: the id]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NewKind {
    /// Once in the life of a database
    Migration,
    /// At every boot, until nothing is left to do
    Rule,
    /// In batches, each committed with its cursor, until it is done
    Backfill,
}

pub(super) fn new(arguments: &NewArguments) -> u8 {
    match make(arguments) {
        Ok(folder) => {
            let folder = folder.display();
            print::say(&format!(
                "made {folder}: block.toml, src/lib.rs, fixtures/\n  cd {folder}\n  cargo test      # natively, on a PostgreSQL of its own\n  \
                 plinth test .   # as the component that will be shipped: run, rerun, killed, two at once\n  \
                 plinth build .  # the component, in target/blocks"
            ));
            0
        }
        Err(error) => {
            print::error(&format!("{error:#}"));
            super::USAGE
        }
    }
}

fn make(arguments: &NewArguments) -> anyhow::Result<PathBuf> {
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(&*arguments.id));
    if folder.exists() {
        bail!("{} exists; nothing in it was touched", folder.display());
    }
    let sdk = arguments.sdk.as_deref().map(checkout).transpose()?;
    let absolute = std::path::absolute(&folder)?;
    for (path, text) in files(&arguments.id, arguments.kind, sdk.as_deref(), in_workspace(&absolute)) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder)
}

/// A checkout of Plinth, or a mistake that says so now and not when cargo runs.
fn checkout(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder.canonicalize().with_context(|| format!("the SDK in {}", folder.display()))?;
    if !folder.join("sdk/Cargo.toml").is_file() {
        bail!("{} is no checkout of Plinth: it has no sdk/Cargo.toml", folder.display());
    }
    Ok(folder)
}

/// Whether a folder above is a cargo workspace, which the new crate must not nest another one in.
fn in_workspace(folder: &Path) -> bool {
    let above = folder.ancestors().skip(1);
    above.filter_map(|folder| fs::read_to_string(folder.join("Cargo.toml")).ok()).any(|text| text.contains("[workspace"))
}

/// The files of a new crate.
fn files(id: &BlockId, kind: NewKind, sdk: Option<&Path>, in_workspace: bool) -> [(&'static str, String); 5] {
    let (manifest, code, fixture) = match kind {
        NewKind::Migration => (
            include_str!("templates/migration.toml"),
            include_str!("templates/migration.rs"),
            include_str!("templates/fixture_migration.sql"),
        ),
        NewKind::Rule => {
            (include_str!("templates/rule.toml"), include_str!("templates/rule.rs"), include_str!("templates/fixture_rule.sql"))
        }
        NewKind::Backfill => (
            include_str!("templates/backfill.toml"),
            include_str!("templates/backfill.rs"),
            include_str!("templates/fixture_backfill.sql"),
        ),
    };
    let dependency = |below: &str| match sdk {
        // TOML's basic strings escape as Rust's do.
        Some(sdk) => format!("{{ path = {:?} }}", sdk.join(below).display().to_string()),
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    };
    let cargo = include_str!("templates/Cargo.toml")
        .replace("@ID@", id)
        .replace("@SDK@", &dependency("sdk"))
        .replace("@TEST@", &dependency("sdk/test"))
        .replace("@WORKSPACE@\n", if in_workspace { "" } else { include_str!("templates/workspace.toml") });
    [
        ("Cargo.toml", cargo),
        ("block.toml", manifest.replace("@ID@", id)),
        ("src/lib.rs", code.to_owned()),
        ("fixtures/1_before.sql", fixture.to_owned()),
        (".gitignore", "/target\n".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_manifest::Manifest;

    #[test]
    fn every_kind_has_a_manifest_that_is_right() {
        let id: BlockId = "0070_wants-mail".parse().unwrap();
        for (kind, name) in [(NewKind::Migration, "migration"), (NewKind::Rule, "rule"), (NewKind::Backfill, "backfill")] {
            let files = files(&id, kind, None, false);
            let manifest = Manifest::parse(&files[1].1).unwrap();
            assert_eq!((manifest.id, manifest.kind.as_str()), (id.clone(), name));
            assert!(files[2].1.contains(&format!("plinth_block::{name}!(")));
            assert!(files.iter().all(|(_, text)| !text.contains("@ID@") && !text.contains("@SDK@")), "{files:?}");
        }
    }

    #[test]
    fn the_sdk_comes_by_path_or_by_version() {
        let id: BlockId = "a".parse().unwrap();
        let by_path = &files(&id, NewKind::Rule, Some(Path::new("/x y")), true)[0].1;
        assert!(by_path.contains("plinth-block = { path = \"/x y/sdk\" }") && !by_path.contains("[workspace]"), "{by_path}");
        let by_version = &files(&id, NewKind::Rule, None, false)[0].1;
        assert!(by_version.contains("plinth-test = \"0.1.0\"") && by_version.contains("[workspace]"), "{by_version}");
    }
}
