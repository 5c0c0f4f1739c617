//! The same migrations for each subject.

use crate::{
    Bench,
    guests::{self, MIGRATION_CHECK, MIGRATION_MANIFEST, MIGRATION_STATEMENT},
    subjects::From,
};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// A migration, by its number from 1: odd ones make a table, even ones add a column to it.
pub struct Migration {
    name: String,
    pub statement: String,
    check: String,
    manifest: String,
}

impl Migration {
    pub fn new(number: usize) -> Migration {
        let table = format!("bench_{:04}", number.div_ceil(2));
        if number.is_multiple_of(2) {
            let name = format!("{table}_amount");
            Migration {
                statement: format!("alter table {table} add column amount int not null default 0"),
                check: format!(
                    "select 1 where not exists (select from pg_attribute where attrelid = '{table}'::regclass and attname = 'amount')"
                ),
                manifest: format!(
                    "id = \"{number:05}_{name}\"\nkind = \"migration\"\ntitle = \"Amounts in {table}\"\nteam = \"bench\"\n\
                     requires = [{{ table = \"{table}\" }}]\nprovides = [{{ column = \"{table}.amount\", type = \"integer\", nullable = false, default = \"0\" }}]\n"
                ),
                name,
            }
        } else {
            Migration {
                statement: format!("create table {table} (id int primary key, name text not null)"),
                check: format!("select 1 where to_regclass('{table}') is null"),
                manifest: format!(
                    "id = \"{number:05}_{table}\"\nkind = \"migration\"\ntitle = \"The table {table}\"\nteam = \"bench\"\nprovides = [{{ table = \"{table}\" }}]\n"
                ),
                name: table,
            }
        }
    }

    fn component(&self, original: &[u8]) -> Result<Vec<u8>> {
        guests::copy(
            original,
            &[(MIGRATION_MANIFEST, &self.manifest), (MIGRATION_STATEMENT, &self.statement), (MIGRATION_CHECK, &self.check)],
        )
        .with_context(|| self.name.clone())
    }
}

/// The folders of one size.
pub struct Folders {
    pub count: usize,
    plinth: PathBuf,
    bundles: PathBuf,
    pub sqlx: PathBuf,
    pub refinery: PathBuf,
}

impl Folders {
    /// Writes `count` migrations: as copies of the component, as `0001_name.sql` and as `V1__name.sql`.
    pub fn write(count: usize, bench: &Bench) -> Result<Folders> {
        let below = bench.folder()?;
        let made = |name: &str| -> Result<PathBuf> {
            let folder = below.join(name);
            fs::create_dir(&folder)?;
            Ok(folder)
        };
        let [plinth, bundles, sqlx, refinery] = ["plinth", "bundles", "sqlx", "refinery"].map(made);
        let mut folders = Folders { count: 0, plinth: plinth?, bundles: bundles?, sqlx: sqlx?, refinery: refinery? };
        for _ in 0..count {
            folders.add(&bench.component)?;
        }
        Ok(folders)
    }

    /// Adds the next migration.
    pub fn add(&mut self, component: &[u8]) -> Result<()> {
        self.count += 1;
        let number = self.count;
        let migration = Migration::new(number);
        let Migration { name, statement, .. } = &migration;
        fs::write(self.plinth.join(format!("{number:05}_{name}.wasm")), migration.component(component)?)?;
        fs::write(self.sqlx.join(format!("{number:05}_{name}.sql")), statement)?;
        fs::write(self.refinery.join(format!("V{number}__{name}.sql")), statement)?;
        Ok(())
    }

    /// The components.
    pub fn folder(&self) -> From {
        From::Folder(self.plinth.clone())
    }

    /// The components in one file.
    pub async fn bundle(&self, compile: bool) -> Result<From> {
        let name = if compile { "compiled.plinth" } else { "blocks.plinth" };
        self.folder().bundled(self.bundles.join(name), compile).await
    }
}
