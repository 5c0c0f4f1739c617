//! The same migrations as a folder for each subject.

use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};
use tempfile::TempDir;

/// What the guest carries in these places, byte for byte.
const MANIFEST: &[u8] = include_bytes!("../guest/block.toml");
const STATEMENT: &[u8] = include_bytes!("../guest/src/statement.sql");
const CHECK: &[u8] = include_bytes!("../guest/src/check.sql");

/// A migration, by its number from 1: odd ones make a table, even ones add a column to it.
struct Migration {
    name: String,
    statement: String,
    check: String,
    manifest: String,
}

impl Migration {
    fn new(number: usize) -> Migration {
        let table = format!("bench_{:04}", number.div_ceil(2));
        if number.is_multiple_of(2) {
            let name = format!("{table}_amount");
            Migration {
                statement: format!("alter table {table} add column amount int not null default 0"),
                check: format!(
                    "select 1 where not exists (select from pg_attribute where attrelid = '{table}'::regclass and attname = 'amount')"
                ),
                manifest: format!(
                    "id = \"{number:04}_{name}\"\nkind = \"migration\"\ntitle = \"Amounts in {table}\"\nteam = \"bench\"\n\
                     requires = [{{ table = \"{table}\" }}]\nprovides = [{{ column = \"{table}.amount\", type = \"integer\", nullable = false, default = \"0\" }}]\n"
                ),
                name,
            }
        } else {
            Migration {
                statement: format!("create table {table} (id int primary key, name text not null)"),
                check: format!("select 1 where to_regclass('{table}') is null"),
                manifest: format!(
                    "id = \"{number:04}_{table}\"\nkind = \"migration\"\ntitle = \"The table {table}\"\nteam = \"bench\"\nprovides = [{{ table = \"{table}\" }}]\n"
                ),
                name: table,
            }
        }
    }
}

/// The folders of one size.
pub struct Folders {
    pub plinth: TempDir,
    pub sqlx: TempDir,
    pub refinery: TempDir,
}

impl Folders {
    /// Writes `count` migrations: as copies of the component, as `0001_name.sql` and as `V1__name.sql`.
    pub fn write(count: usize, component: &[u8]) -> Result<Folders> {
        let folders = Folders { plinth: TempDir::new()?, sqlx: TempDir::new()?, refinery: TempDir::new()? };
        for number in 1..=count {
            let migration = Migration::new(number);
            let Migration { name, statement, .. } = &migration;
            fs::write(folders.plinth.path().join(format!("{number:04}_{name}.wasm")), migration.component(component)?)?;
            fs::write(folders.sqlx.path().join(format!("{number:04}_{name}.sql")), statement)?;
            fs::write(folders.refinery.path().join(format!("V{number}__{name}.sql")), statement)?;
        }
        Ok(folders)
    }
}

impl Migration {
    fn component(&self, original: &[u8]) -> Result<Vec<u8>> {
        let mut copy = original.to_vec();
        for (place, text) in [(MANIFEST, &self.manifest), (STATEMENT, &self.statement), (CHECK, &self.check)] {
            overwrite(&mut copy, place, text).with_context(|| format!("{}: {text}", self.name))?;
        }
        Ok(copy)
    }
}

/// Writes a text, filled up with spaces, wherever the placeholder stands.
fn overwrite(bytes: &mut [u8], placeholder: &[u8], text: &str) -> Result<()> {
    let text = format!("{text:<width$}", width = placeholder.len());
    ensure!(text.len() == placeholder.len(), "{} bytes are too many for a place of {}", text.len(), placeholder.len());
    let places: Vec<usize> = bytes
        .windows(placeholder.len())
        .enumerate()
        .filter(|(_, window)| *window == placeholder)
        .map(|(place, _)| place)
        .collect();
    ensure!(!places.is_empty(), "the component has no such place: build it again with tests/bench/run.sh");
    for place in places {
        bytes[place..place + text.len()].copy_from_slice(text.as_bytes());
    }
    Ok(())
}

/// The component that the copies are made of.
pub fn component(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} is not there: tests/bench/run.sh builds it", path.display()))
}
