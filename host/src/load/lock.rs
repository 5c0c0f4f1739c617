//! `plinth.lock`: the blocks that were reviewed, by id and digest, with who provides what. `run --locked` insists on it.

use super::{Components, Digest, LoadError, Problem};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _, io};

/// A set of blocks as a file says it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockFile {
    /// Tells what it was made for; a later host may write another one.
    version: u32,
    #[serde(default)]
    block: Vec<Locked>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    id: String,
    digest: String,
    #[serde(default)]
    team: Option<String>,
    #[serde(default)]
    provides: Vec<String>,
}

/// What this host writes.
const VERSION: u32 = 1;

impl LockFile {
    /// Reads one; errors name it.
    pub(crate) fn read(name: &str, text: io::Result<Cow<'_, str>>) -> Result<LockFile, LoadError> {
        text.map_err(Problem::Unreadable)
            .and_then(|text| LockFile::parse(&text))
            .map_err(|problem| LoadError(vec![(name.to_owned(), problem)]))
    }

    fn parse(text: &str) -> Result<LockFile, Problem> {
        let lock: LockFile = toml::from_str(text).map_err(|error| Problem::NoLock(error.message().trim().to_owned()))?;
        if lock.version == VERSION { Ok(lock) } else { Err(Problem::NoLock(format!("version {} is not known", lock.version))) }
    }

    /// Holds a set of blocks against it, ids and digests: all differences at once. `origin` tells where a block came from.
    pub(crate) fn check<'a>(
        &self,
        name: &str,
        blocks: impl Iterator<Item = (&'a str, Digest)>,
        origin: impl Fn(&str) -> String,
    ) -> Result<(), LoadError> {
        let mut locked: BTreeMap<&str, &Locked> = self.block.iter().map(|block| (&*block.id, block)).collect();
        let mut problems = Vec::new();
        for (id, digest) in blocks {
            let found = digest.to_string();
            match locked.remove(id) {
                None => problems.push((origin(id), Problem::NotLocked { id: id.to_owned() })),
                Some(block) if block.digest != found => {
                    let locked = block.digest.clone();
                    problems.push((origin(id), Problem::LockedOtherwise { id: id.to_owned(), locked, found }));
                }
                Some(_) => {}
            }
        }
        let gone = locked.into_keys().map(|id| (name.to_owned(), Problem::LockedAndGone { id: id.to_owned() }));
        problems.extend(gone);
        if problems.is_empty() { Ok(()) } else { Err(LoadError(problems)) }
    }
}

impl Components {
    /// The set as a lock file: ids in order, digests, teams, and what each provides, for whoever reviews a change.
    pub fn lock_file(&self) -> String {
        // JSON's strings are TOML's.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut out = format!("# Made by `plinth lock`; `plinth run --locked` runs exactly these.\nversion = {VERSION}\n");
        for component in self.iter() {
            let manifest = &component.manifest;
            let _ = write!(out, "\n[[block]]\nid = {}\ndigest = \"{}\"\n", quoted(&manifest.id), component.digest);
            if let Some(team) = &manifest.team {
                let _ = writeln!(out, "team = {}", quoted(team));
            }
            let provides: Vec<String> = manifest.provides.iter().map(|object| quoted(&object.to_string())).collect();
            if !provides.is_empty() {
                let _ = writeln!(out, "provides = [{}]", provides.join(", "));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Component;
    use plinth_manifest::Manifest;

    fn components(ids: &[&str]) -> Components {
        let text = |id| {
            format!(
                "id = \"{id}\"\nkind = \"migration\"\ntitle = \"t\"\nteam = \"a \\\"b\\\"\"\nprovides = [{{ table = \"t\" }}]\n"
            )
        };
        Components::planned(ids.iter().map(|id| Component::planned(Manifest::parse(&text(id)).unwrap())).collect())
    }

    fn ids(set: &Components) -> impl Iterator<Item = (&str, Digest)> {
        set.iter().map(|component| (&*component.manifest.id, component.digest))
    }

    #[test]
    fn a_set_is_as_its_lock_file_says_it() {
        let set = components(&["a", "b"]);
        let lock = LockFile::parse(&set.lock_file()).unwrap();
        assert_eq!(lock.block[0].team.as_deref(), Some("a \"b\""));
        assert_eq!(lock.block[0].provides.len(), 1);
        lock.check("plinth.lock", ids(&set), str::to_owned).unwrap();
        let error = lock.check("plinth.lock", ids(&components(&["b", "c"])), str::to_owned).unwrap_err().to_string();
        assert!(error.contains("c is not in the lock file") && error.contains("plinth.lock: names a,"), "{error}");
        let mut other = lock.clone();
        other.block[0].digest = "00".into();
        assert!(other.check("plinth.lock", ids(&set), str::to_owned).unwrap_err().to_string().contains("00"));
    }

    #[test]
    fn what_is_no_lock_file_is_refused() {
        for text in ["", "version = 2", "version = 1\nblocks = []", "version = 1\n[[block]]\nid = \"a\"\n", "{}"] {
            assert!(LockFile::parse(text).is_err(), "{text}");
        }
    }
}
