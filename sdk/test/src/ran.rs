//! One native run of a block, by the steps of a host's boot, and what may be expected of it.

use crate::{database::said, native::Native};
use plinth_block::{Checks, Db, Error, Outcome, Result as BlockResult, SqlError, types::Check};
use plinth_embedded::Difference;
use plinth_manifest::{Manifest, Object, TableName, Transaction};
use std::{collections::BTreeMap, fmt};

/// Rows that were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

/// So many rows inserted, none updated or deleted.
pub fn inserted(rows: u64) -> Rows {
    Rows { inserted: rows, ..Rows::default() }
}

/// So many rows updated, none inserted or deleted.
pub fn updated(rows: u64) -> Rows {
    Rows { updated: rows, ..Rows::default() }
}

/// So many rows deleted, none inserted or updated.
pub fn deleted(rows: u64) -> Rows {
    Rows { deleted: rows, ..Rows::default() }
}

/// A block that ran, and what the database says it did.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// Its post-conditions. All of them held.
    pub checks: Vec<Check>,
    /// Rows by table, by the session's own counters: triggers and functions included.
    pub rows: BTreeMap<String, Rows>,
    /// Locks on tables and indexes before the commit, as object and mode.
    pub locks: Vec<(String, String)>,
    /// The statements, post-conditions excepted.
    pub statements: Vec<String>,
    /// What it logged.
    pub journal: Vec<String>,
    /// What is another way in the database than before.
    pub difference: Difference,
}

/// Why a block was rolled back.
#[derive(Debug)]
pub struct Failed {
    message: String,
    cause: Option<SqlError>,
}

impl Failed {
    pub(crate) fn new(message: impl Into<String>) -> Failed {
        Failed { message: message.into(), cause: None }
    }

    pub(crate) fn after(error: SqlError) -> Failed {
        let message = format!("the block went on after a failure: use a savepoint for what may fail: {error}");
        Failed { message, cause: Some(error) }
    }

    /// The statement's error behind it.
    pub fn sql(&self) -> Option<&SqlError> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { message: error.to_string(), cause: error.sql().cloned() }
    }
}

impl From<postgres::Error> for Failed {
    fn from(error: postgres::Error) -> Failed {
        Failed { message: said(&error), cause: Some(crate::native::told(&error)) }
    }
}

/// The parts of a block.
pub(crate) struct Work {
    pub(crate) manifest: &'static str,
    pub(crate) work: fn(&Db) -> BlockResult<Outcome>,
    pub(crate) verify: fn(&Db) -> BlockResult<Checks>,
}

const COUNTERS: &str = "select n.nspname, c.relname, pg_stat_get_xact_tuples_inserted(c.oid), pg_stat_get_xact_tuples_updated(c.oid),
       pg_stat_get_xact_tuples_deleted(c.oid)
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'";

const LOCKS: &str = "select coalesce(nullif(n.nspname, 'public') || '.', '') || c.relname, l.mode
     from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
     where l.pid = pg_backend_pid() and l.granted and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
     order by 1, 2";

/// How a transaction of a block begins.
pub(crate) const BEGIN: &str =
    "begin; set local lock_timeout = '5s'; set local search_path = public; set local client_min_messages = warning";

impl Work {
    pub(crate) fn run(&self, native: &Native) -> Result<Ran, Failed> {
        let manifest = Manifest::parse(self.manifest).map_err(|error| Failed::new(format!("block.toml, {error}")))?;
        if manifest.transaction == Transaction::None {
            return self.outside(native);
        }
        let send = |sql: &str| native.client.borrow_mut().batch_execute(sql).map_err(Failed::from);
        send(BEGIN)?;
        let before = counters(native)?;
        let db = Db::with_backend(native.clone());
        let outcome = (self.work)(&db)?;
        if let Outcome::Deferred(_) = outcome {
            send("rollback")?;
            return Ok(Ran::new(native, outcome, Checks::new()));
        }
        native.told.ended()?;
        let mut ran = Ran::new(native, outcome, Checks::new());
        send("savepoint plinth_verify; set transaction read only")?;
        ran.checks = held((self.verify)(&db)?)?;
        send("rollback to savepoint plinth_verify")?;
        ran.rows = since(&counters(native)?, &before);
        undeclared(&manifest, &ran.rows)?;
        let locks = native.client.borrow_mut().query(LOCKS, &[])?;
        ran.locks = locks.iter().map(|row| (row.get(0), row.get(1))).collect();
        send("commit")?;
        Ok(ran)
    }

    /// Each statement stands alone: what was done before a failure stays.
    fn outside(&self, native: &Native) -> Result<Ran, Failed> {
        let db = Db::with_backend(native.clone());
        let outcome = (self.work)(&db)?;
        let ran = Ran::new(native, outcome, Checks::new());
        Ok(Ran { checks: held((self.verify)(&db)?)?, ..ran })
    }
}

pub(crate) fn held(checks: Checks) -> Result<Vec<Check>, Failed> {
    let checks = checks.into_list();
    let broken: Vec<String> = checks
        .iter()
        .filter(|check| !check.held)
        .map(|check| format!("{}{}", check.name, check.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default()))
        .collect();
    if broken.is_empty() { Ok(checks) } else { Err(Failed::new(format!("post-conditions do not hold: {}", broken.join("; ")))) }
}

pub(crate) fn counters(native: &Native) -> Result<BTreeMap<TableName, Rows>, Failed> {
    let number = |row: &postgres::Row, place| u64::try_from(row.get::<_, i64>(place)).unwrap_or(0);
    let rows = native.client.borrow_mut().query(COUNTERS, &[])?;
    let table = |row: &postgres::Row| {
        let counts = Rows { inserted: number(row, 2), updated: number(row, 3), deleted: number(row, 4) };
        (TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)), counts)
    };
    Ok(rows.iter().map(table).collect())
}

pub(crate) fn since(now: &BTreeMap<TableName, Rows>, then: &BTreeMap<TableName, Rows>) -> BTreeMap<String, Rows> {
    let changed = now.iter().map(|(table, now)| {
        let then = then.get(table).copied().unwrap_or_default();
        let rows = Rows {
            inserted: now.inserted - then.inserted.min(now.inserted),
            updated: now.updated - then.updated.min(now.updated),
            deleted: now.deleted - then.deleted.min(now.deleted),
        };
        (table.to_string(), rows)
    });
    changed.filter(|(_, rows)| *rows != Rows::default()).collect()
}

/// What a host would roll the block back for.
pub(crate) fn undeclared(manifest: &Manifest, rows: &BTreeMap<String, Rows>) -> Result<(), Failed> {
    let declared = |table: &str| {
        manifest.writes.iter().any(|write| write.table.to_string() == table)
            || manifest.provides.iter().any(|object| matches!(object, Object::Table(name) if name.to_string() == table))
    };
    match rows.keys().find(|table| !declared(table)) {
        Some(table) => Err(Failed::new(format!("the block changed rows of {table}: add \"{table}.*\" to writes in block.toml"))),
        None => Ok(()),
    }
}

impl Ran {
    pub(crate) fn new(native: &Native, outcome: Outcome, checks: Checks) -> Ran {
        Ran {
            outcome,
            checks: checks.into_list(),
            rows: BTreeMap::new(),
            locks: Vec::new(),
            statements: native.told.statements.borrow().clone(),
            journal: native.told.journal.borrow().clone(),
            difference: Difference::default(),
        }
    }

    /// Adds what a batch sent and changed.
    pub(crate) fn add(&mut self, native: &Native, changed: &BTreeMap<String, Rows>) {
        self.statements.clone_from(&native.told.statements.borrow());
        for (table, rows) in changed {
            let all = self.rows.entry(table.clone()).or_default();
            all.inserted += rows.inserted;
            all.updated += rows.updated;
            all.deleted += rows.deleted;
        }
    }

    /// After the last batch.
    pub(crate) fn ended(self, native: &Native, outcome: Outcome, checks: Vec<Check>) -> Ran {
        Ran { rows: self.rows, statements: self.statements, checks, ..Ran::new(native, outcome, Checks::new()) }
    }

    /// Expects that so many rows of a table were changed, and of no other table. A table of schema `public` without its schema.
    ///
    /// # Panics
    ///
    /// If it was otherwise.
    #[track_caller]
    pub fn expect_rows(&self, table: &str, rows: Rows) -> &Ran {
        assert_eq!(self.rows, BTreeMap::from([(table.to_owned(), rows)]), "rows that were changed");
        self
    }

    /// Expects that no row was changed.
    ///
    /// # Panics
    ///
    /// If one was.
    #[track_caller]
    pub fn expect_no_rows(&self) -> &Ran {
        assert!(self.rows.is_empty(), "rows were changed: {:?}", self.rows);
        self
    }

    /// Expects a line in the difference that begins so, such as `column t.a is new: integer`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn expect_change(&self, begins: &str) -> &Ran {
        let found = self.difference.lines().iter().any(|line| line.starts_with(begins));
        assert!(found, "no change begins with {begins:?}; what changed:\n{}", self.difference);
        self
    }

    /// Expects a run without any effect: no row, no object, no lock that keeps anybody from writing.
    ///
    /// # Panics
    ///
    /// If there was one.
    #[track_caller]
    pub fn expect_nothing(&self) -> &Ran {
        self.expect_no_rows();
        assert!(self.difference.is_empty(), "the database is another one:\n{}", self.difference);
        let strong: Vec<&(String, String)> = self.locks.iter().filter(|(_, mode)| mode != "AccessShareLock").collect();
        assert!(strong.is_empty(), "locks were taken: {strong:?}");
        self
    }

    /// Expects that the block put its work off, with a reason that contains this.
    ///
    /// # Panics
    ///
    /// If it did its work, or for another reason.
    #[track_caller]
    pub fn expect_deferred(&self, reason: &str) -> &Ran {
        match &self.outcome {
            Outcome::Deferred(given) if given.contains(reason) => self,
            other => panic!("the block was to put its work off for {reason:?}: {other:?}"),
        }
    }
}
