//! What is asked to measure a block, in one statement for most: how transaction and session stand, what is locked and which rows were
//! changed, and which objects were made.
//!
//! Half of what such a question costs the server is to begin and to end it, and the locks, which both the rows and the objects are found by, are
//! those of everybody. So they are taken once.

use super::{
    around::{Around, around_expression, around_query},
    objects::{CATALOGS, Found, KIND, Objects, objects_query, written},
    simple::{ResultSets, text},
    touched::{ADVISORY, HELD, RELATION, ROWS_OF_TOUCHED, Touched, touched_query},
};
use tokio_postgres::SimpleQueryRow;

/// What is asked about a block, and about its session and locks in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether it made objects, which one that works on rows does not.
    Rows,
    /// The objects that most blocks make: relations, columns, constraints and triggers.
    Most,
    /// Whatever there may be: see [`objects_query`].
    Everything { after: Option<u64>, everywhere: bool },
}

/// What the answer says.
pub(crate) struct Seen {
    pub(crate) around: Around,
    pub(crate) touched: Touched,
    /// None if the answer is not enough to know.
    pub(crate) objects: Option<Objects>,
}

impl Question {
    /// What asks it, and how many statements that are.
    pub(super) fn ask(self) -> (String, usize) {
        match self {
            Question::Rows => (rows_query(), 1),
            Question::Most => (most_query(), 1),
            Question::Everything { after, everywhere } => {
                (format!("{}; {}; {}", around_query(true), touched_query(), objects_query(after, everywhere)), 3)
            }
        }
    }

    /// Reads the answer, which is the last of these.
    pub(crate) fn read(self, sets: &ResultSets) -> Seen {
        if let Question::Everything { everywhere, .. } = self {
            let (around, touched) = (Around::read(sets, 2), Touched::read(sets, 1));
            return Seen { around, touched, objects: Objects::read(sets, 0, everywhere) };
        }
        let rows = sets.set_from_end(0);
        let session = rows.iter().find(|row| text(row, 0) == Some(SESSION));
        let objects = session.and_then(|session| match self {
            Question::Rows => (text(session, 1) == Some("0") && counts(session)).then(Objects::default),
            _ => objects(rows, session),
        });
        Seen { around: Around::of(session.and_then(|row| text(row, 3))), touched: Touched::of(rows), objects }
    }
}

/// The kind of the row that says how transaction and session stand, whether the server counts, and what was written into catalogs.
const SESSION: &str = "session";

/// The row itself. Three numbers are a part of it.
fn session(relations: &str, others: &str, types: &str) -> String {
    format!(
        "select '{SESSION}', ({relations})::text, ({others})::text, {}, current_setting('track_counts'), {types}, null, null",
        around_expression(true)
    )
}

/// Whether the server counts what is written.
fn counts(session: &SimpleQueryRow) -> bool {
    text(session, 4) == Some("on")
}

/// What is locked and was changed, and whether anything was written into a catalog that objects are in; if it was not, no objects were made.
fn rows_query() -> String {
    let all = CATALOGS.map(written).join(" + ");
    format!("with {HELD} {ROWS_OF_TOUCHED} union all {}", session(&all, "0", "0"))
}

/// The same, and the relations that the transaction holds a lock on that changes them, with their columns, constraints and triggers, as far as
/// they are the transaction's own: a field says so, or `?` where a sub-transaction or another session may have made it. The next has the rows of
/// `pg_type` that came with a relation. Of the rest it is known how much was written into catalogs where others may be.
fn most_query() -> String {
    let ours = |xmin: &str| format!("case when {xmin} = top then 'ours' else '?' end");
    let others = ["pg_proc", "pg_enum", "pg_namespace", "pg_extension", "pg_policy"].map(written).join(" + ");
    let relations = ["pg_class", "pg_attribute"].map(written).join(" + ");
    // `made` is the age of the first of its columns: that of a new relation is as old as the transaction.
    format!(
        "with own as materialized (select top, age(top) as since from (select pg_current_xact_id_if_assigned()::xid as top) top where top is not null),
         {HELD},
         relations as materialized (
            select h.oid, h.relkind, h.nspname, h.relname, h.xmin, h.reltype, own.top, own.since,
                   (select age(a.xmin) from pg_attribute a
                    where a.attrelid = h.oid and a.attnum = case when h.relkind in ('i', 'I', 'v') then 1 else -6 end) as made
            from (select distinct oid, relkind, nspname, relname, xmin, reltype from held
                  where mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
                    and relkind in ('r', 'p', 'i', 'I', 'v', 'm', 'S', 'f')) h cross join own
         )
         {ROWS_OF_TOUCHED}
         union all
         select {KIND}, nspname, relname, case when made <= since then 't' end,
                case when made < since then '?' else {relation} end,
                (select 1 + (t.typarray <> '0')::int from pg_type t where t.oid = r.reltype and age(t.xmin) <= since), null, null
         from relations r where age(xmin) <= since
         union all
         select 'column', nspname, pg_catalog.concat(relname, '.', a.attname), 't', {column}, null, null, null
         from relations r join pg_attribute a on a.attrelid = r.oid
         where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'p') and age(a.xmin) <= since and made > since
         union all
         select 'constraint', nspname, pg_catalog.concat(k.conname, ' on ', relname), 't', {constraint}, null, null, null
         from relations r join pg_constraint k on k.conrelid = r.oid where age(k.xmin) <= since
         union all
         select 'constraint', n.nspname, k.conname, 't', {constraint}, null, null, null
         from pg_constraint k join pg_namespace n on n.oid = k.connamespace cross join own
         where k.conrelid = '0' and age(k.xmin) <= since and (select {constraints} > 0)
         union all
         select 'trigger', nspname, pg_catalog.concat(t.tgname, ' on ', relname), 't', {trigger}, null, null, null
         from relations r join pg_trigger t on t.tgrelid = r.oid
         where not t.tgisinternal and age(t.xmin) <= since and (select {triggers} > 0)
         union all
         {session}",
        relation = ours("xmin"),
        column = ours("a.xmin"),
        constraint = ours("k.xmin"),
        trigger = ours("t.xmin"),
        constraints = written("pg_constraint"),
        triggers = written("pg_trigger"),
        session = session(&relations, &others, &written("pg_type")),
    )
}

/// Reads the objects of [`most_query`]. None if they are not all, or may be another's.
fn objects(rows: &[SimpleQueryRow], session: &SimpleQueryRow) -> Option<Objects> {
    let number = |row, at| text(row, at).map_or(Some(0), |text| text.parse::<u64>().ok());
    let rows = || rows.iter().filter(|row| ![Some(RELATION), Some(ADVISORY), Some(SESSION)].contains(&text(row, 0)));
    let found = rows().map(|row| {
        let made = Found::read(row)?;
        (text(row, 4) == Some("ours")).then_some(made)
    });
    let found = found.collect::<Option<Vec<_>>>()?;
    let types = rows().map(|row| number(row, 5)).sum::<Option<u64>>()?;
    // The server also counts what was undone, or what was written twice: then it is not known, and looked for.
    let all = counts(session)
        && number(session, 2)? == 0
        && number(session, 5)? == types
        && (number(session, 1)? == 0 || !found.is_empty());
    all.then(|| Objects::of(found))
}
