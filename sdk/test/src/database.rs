//! A database for a test.

use crate::{
    native::Native,
    ran::{Failed, Ran, Work},
    server::server,
};
use plinth_block::{Described, Migration, Rule};
use plinth_embedded::Snapshot;
use postgres::{Client, NoTls};
use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

/// How often, and after how long a pause, a database that is still in use is tried again as a template.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// A database of a test's own. Dropped with its value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
}

/// A database with the fixture of the crate that says so: every file of its `fixtures/*.sql`, in the order of their names.
///
/// The files run once a test program; each test gets a copy of what they made.
#[macro_export]
macro_rules! database {
    () => {
        $crate::TestDatabase::with_fixtures(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/fixtures"))
    };
}

impl TestDatabase {
    /// An empty database.
    pub fn empty() -> TestDatabase {
        TestDatabase::copy_of("template0")
    }

    /// A database in which the `.sql` files of a folder have run, in the order of their names. A folder that is not there is one
    /// without files.
    ///
    /// # Panics
    ///
    /// If a file cannot be read or fails, naming it.
    #[track_caller]
    pub fn with_fixtures(folder: impl AsRef<Path>) -> TestDatabase {
        static TEMPLATES: Mutex<Option<HashMap<PathBuf, String>>> = Mutex::new(None);
        let folder = folder.as_ref().to_owned();
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        let templates = templates.get_or_insert_default();
        let name = templates.entry(folder).or_insert_with_key(|folder| {
            let template = TestDatabase::empty();
            for file in fixtures(folder) {
                let sql = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                let ran = template.client().batch_execute(&sql);
                ran.unwrap_or_else(|error| panic!("{}: {}", file.display(), said(&error)));
            }
            // It stays until the server ends.
            let name = template.name.clone();
            std::mem::forget(template);
            name
        });
        TestDatabase::copy_of(name)
    }

    fn copy_of(template: &str) -> TestDatabase {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        // Copying the files is the fastest in memory, and older servers know no other way.
        let strategy = if server().binaries().major() >= 15 { " strategy file_copy" } else { "" };
        let create = format!("create database {name} template {template}{strategy}");
        let mut admin = connect(&server().url("postgres"));
        for attempt in 1.. {
            match admin.batch_execute(&create) {
                Ok(()) => break,
                // The connection that filled the template may still be closing.
                Err(error) if error.code().is_some_and(|code| code.code() == "55006") && attempt < TRIES => sleep(PAUSE),
                Err(error) => panic!("{create}: {}", said(&error)),
            }
        }
        TestDatabase { url: server().url(&name), name }
    }

    /// Its address, for any client.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection of the test's own.
    pub fn client(&self) -> Client {
        connect(&self.url)
    }

    /// Runs statements, separated by semicolons.
    ///
    /// # Panics
    ///
    /// If one fails.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        if let Err(error) = self.client().batch_execute(sql) {
            panic!("{sql}: {}", said(&error));
        }
    }

    /// The first value of a query, as text; none if it is NULL or there is no row.
    ///
    /// # Panics
    ///
    /// If the query fails.
    #[track_caller]
    pub fn value(&self, query: &str) -> Option<String> {
        let answers = self.client().simple_query(query).unwrap_or_else(|error| panic!("{query}: {}", said(&error)));
        answers.iter().find_map(|answer| match answer {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        })?
    }

    /// Everything that is in the database now, but the ledger.
    ///
    /// # Panics
    ///
    /// If the database cannot be read.
    #[track_caller]
    pub fn snapshot(&self) -> Snapshot {
        snapshot(&mut self.client()).unwrap_or_else(|error| panic!("the database cannot be read: {}", said(&error)))
    }

    /// Runs a migration natively, as a host does: in a transaction, then its post-conditions, then the commit.
    ///
    /// # Panics
    ///
    /// If the block fails, one of its post-conditions does not hold, or it wrote what its manifest does not name.
    #[track_caller]
    pub fn apply<B: Migration + Described>(&self) -> Ran {
        match self.try_apply::<B>() {
            Ok(ran) => ran,
            // Not in a closure: the panic is to name the test's line.
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Like [`TestDatabase::apply`], for a migration that is to fail. Everything is rolled back then.
    ///
    /// # Errors
    ///
    /// Why the block was rolled back.
    pub fn try_apply<B: Migration + Described>(&self) -> Result<Ran, Failed> {
        self.run(Work { manifest: B::manifest(), work: B::apply, verify: B::verify })
    }

    /// Runs a rule natively, as a host does. See [`TestDatabase::apply`].
    ///
    /// # Panics
    ///
    /// As [`TestDatabase::apply`].
    #[track_caller]
    pub fn reconcile<B: Rule + Described>(&self) -> Ran {
        match self.try_reconcile::<B>() {
            Ok(ran) => ran,
            // Not in a closure: the panic is to name the test's line.
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Like [`TestDatabase::reconcile`], for a rule that is to fail. Everything is rolled back then.
    ///
    /// # Errors
    ///
    /// Why the block was rolled back.
    pub fn try_reconcile<B: Rule + Described>(&self) -> Result<Ran, Failed> {
        self.run(Work { manifest: B::manifest(), work: B::reconcile, verify: B::verify })
    }

    fn run(&self, work: Work) -> Result<Ran, Failed> {
        self.observed(|native| work.run(native))
    }

    /// Runs something on a connection of its own, and tells what is another way after it.
    pub(crate) fn observed(&self, run: impl FnOnce(&Native) -> Result<Ran, Failed>) -> Result<Ran, Failed> {
        let before = self.snapshot();
        let ran = run(&Native::new(Rc::new(RefCell::new(self.client()))))?;
        Ok(Ran { difference: before.difference(&self.snapshot()), ..ran })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that is gone took the database with it.
        if let Ok(mut admin) = Client::connect(&server().url("postgres"), NoTls) {
            let _ = admin.batch_execute(&format!("drop database if exists {} with (force)", self.name));
        }
    }
}

/// Runs an example of the SDK's documentation. Not part of the interface.
#[doc(hidden)]
pub fn example(fixture: &str, example: fn(&plinth_block::Db) -> plinth_block::Result<()>) {
    let database = TestDatabase::empty();
    database.execute(fixture);
    let native = Native::new(Rc::new(RefCell::new(database.client())));
    native.client.borrow_mut().batch_execute("begin").unwrap_or_else(|error| panic!("{}", said(&error)));
    example(&plinth_block::Db::with_backend(native)).unwrap_or_else(|error| panic!("{error}"));
}

/// The `.sql` files of a folder, by name.
fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
    files.sort();
    files
}

fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap_or_else(|error| panic!("{url}: {}", said(&error)))
}

pub(crate) fn snapshot(client: &mut Client) -> Result<Snapshot, postgres::Error> {
    let [prepare, ask] = Snapshot::statements("plinth");
    client.batch_execute(&prepare)?;
    let rows = client.query(&ask, &[])?;
    Ok(Snapshot::read(rows.iter().map(|row| [row.get::<_, String>(0), row.get(1), row.get(2)])))
}

/// What the server said, without the client's words around it.
pub(crate) fn said(error: &postgres::Error) -> String {
    crate::native::told(error).to_string()
}
