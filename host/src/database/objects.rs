//! Which objects a transaction created or altered: the catalog rows whose xmin is a transaction in progress that is not older than
//! ours. Nobody else's such rows are visible.
//!
//! A change of a relation takes a lock on it, so only what is locked is looked at, by index: the look costs the same in a database of ten
//! thousand tables. What has no relation is scanned for if the transaction's counters say that its catalog was written.
//!
//! Most blocks make tables, columns, indexes and constraints and nothing else. [`quick_query`] finds these and counts what was written into
//! catalogs, so that it is known whether these are all.

use super::simple::{ResultSets, text};
use crate::report::{ObjectChange, shown_name};
use tokio_postgres::SimpleQueryRow;

/// What is asked about the objects that a transaction made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether there are any: see [`wrote_query`].
    Whether,
    /// Those of most blocks: see [`quick_query`].
    Quick,
    /// See [`objects_query`].
    All { after: Option<u64>, everywhere: bool },
}

impl Question {
    /// What the answer says; none if that is not enough to know.
    pub(crate) fn read(self, sets: &ResultSets, place: usize) -> Option<Objects> {
        match self {
            Question::Whether => (!wrote(sets, place)).then(Objects::default),
            Question::Quick => Objects::quick(sets, place),
            Question::All { everywhere, .. } => {
                Some(Objects::read(sets, place)).filter(|objects| everywhere || !objects.elsewhere)
            }
        }
    }
}

/// Objects created or altered by the transaction that runs. In a rehearsal, only those that are younger than what the blocks before did in
/// the same transaction. `everywhere` also looks at relations that are not locked, and costs a scan of the catalog: GRANT locks nothing.
pub(super) fn objects_query(after: Option<u64>, everywhere: bool) -> String {
    let top = after.map_or_else(|| "pg_current_xact_id_if_assigned()".to_owned(), |after| format!("'{}'::xid8", after + 1));
    let candidates = if everywhere { "pg_class as candidates" } else { "locked as candidates" };
    let catalogs = CATALOGS.map(|catalog| format!("{} as {catalog}", written(catalog)));
    let xid = "(case when xmin::text::numeric >= low then epoch else epoch + 4294967296 end + xmin::text::numeric)::text";
    format!(
        "with ours as materialized (
            select top::text::numeric - mod(top::text::numeric, 4294967296) as epoch, mod(top::text::numeric, 4294967296) as low,
                   age(top::xid) as oldest
            from (select {top} as top) own where top is not null
         ), written as materialized (
            select {catalogs} from ours
         ), locked as materialized (
            select distinct relation as oid from pg_locks, ours
            where pid = pg_backend_pid() and locktype = 'relation' and granted
              and database = (select oid from pg_database where datname = current_database())
              and mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
         ), relations as materialized (
            select c.oid, c.relkind, n.nspname, c.relname, c.xmin
            from {candidates} join pg_class c on c.oid = candidates.oid join pg_namespace n on n.oid = c.relnamespace
         ), changed (kind, schema, name, created, xmin) as (
            select {KIND}, r.nspname, r.relname,
                   exists (select from pg_attribute a, ours where a.attrelid = r.oid
                             and a.attnum = case when r.relkind in ('i', 'I', 'v') then 1 else -6 end and age(a.xmin) <= oldest),
                   r.xmin
            from relations r where r.relkind in ('r', 'p', 'i', 'I', 'v', 'm', 'S', 'f')
            union all
            select 'column', r.nspname, r.relname || '.' || a.attname, true, a.xmin
            from relations r join pg_attribute a on a.attrelid = r.oid, ours
            where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'p')
              and not exists (select from pg_attribute s where s.attrelid = r.oid and s.attnum = -6 and age(s.xmin) <= oldest)
            union all
            select 'constraint', n.nspname, k.conname || ' on ' || r.relname, true, k.xmin
            from relations r join pg_constraint k on k.conrelid = r.oid join pg_namespace n on n.oid = k.connamespace
            where (select pg_constraint > 0 from written)
            union all
            select 'constraint', n.nspname, k.conname, true, k.xmin
            from pg_constraint k join pg_namespace n on n.oid = k.connamespace
            where k.conrelid = 0 and (select pg_constraint > 0 from written)
            union all
            select 'trigger', r.nspname, t.tgname || ' on ' || r.relname, true, t.xmin
            from relations r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
            union all
            select 'policy', r.nspname, p.polname || ' on ' || r.relname, true, p.xmin
            from relations r join pg_policy p on p.polrelid = r.oid
            union all
            select 'function', n.nspname, p.proname, true, p.xmin from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where (select pg_proc > 0 from written)
            union all
            select 'type', n.nspname, t.typname, true, t.xmin
            from pg_type t join pg_namespace n on n.oid = t.typnamespace
            where t.typtype in ('e', 'd', 'r')
              and (select pg_type > 0 from written)
            union all
            select 'enum value', n.nspname, t.typname || ' ' || e.enumlabel, true, e.xmin
            from pg_enum e join pg_type t on t.oid = e.enumtypid join pg_namespace n on n.oid = t.typnamespace
            where (select pg_enum > 0 from written)
            union all
            select 'schema', n.nspname, n.nspname, true, n.xmin from pg_namespace n where (select pg_namespace > 0 from written)
            union all
            select 'extension', 'public', e.extname, true, e.xmin from pg_extension e where (select pg_extension > 0 from written)
         )
         select kind, schema, name, created, {xid}
         from changed, ours
         where schema <> 'pg_toast' and age(xmin) <= oldest and pg_xact_status(({xid})::xid8) = 'in progress'
         union all
         select '{ELSEWHERE}', null, null, null, null from written where pg_class + pg_attribute > 0 and not exists (select from locked)
         order by kind, schema, name",
        catalogs = catalogs.join(", ")
    )
}

/// What a relation is called.
const KIND: &str = "case r.relkind when 'i' then 'index' when 'I' then 'index' when 'v' then 'view' when 'm' then 'view'
                                  when 'S' then 'sequence' when 'r' then 'table' when 'p' then 'table' else r.relkind::text end";

/// The kind of the row that says that something was changed without a lock on it.
const ELSEWHERE: &str = "elsewhere";

/// The catalogs that objects are in.
const CATALOGS: [&str; 10] = [
    "pg_class",
    "pg_attribute",
    "pg_constraint",
    "pg_trigger",
    "pg_type",
    "pg_proc",
    "pg_enum",
    "pg_namespace",
    "pg_extension",
    "pg_policy",
];

/// The rows that the transaction wrote into a catalog. A server that does not count says nothing.
fn written(catalog: &str) -> String {
    // Named in full: a function of a block's for `regclass` would fit better than PostgreSQL's, which is for any oid.
    ["inserted", "updated"]
        .map(|what| format!("pg_catalog.pg_stat_get_xact_tuples_{what}('pg_catalog.{catalog}'::regclass)"))
        .join(" + ")
}

/// Whether the transaction wrote into a catalog that objects are in; if it did not, it made none. Costs a tenth of looking for them.
/// A server that does not count cannot tell.
pub(super) fn wrote_query() -> String {
    let all = CATALOGS.map(written).join(" + ");
    format!("select current_setting('track_counts') = 'off' or {all} > 0")
}

/// The answer to [`wrote_query`].
fn wrote(sets: &ResultSets, place: usize) -> bool {
    sets.set_from_end(place).first().and_then(|row| text(row, 0)) != Some("f")
}

/// The kind of the row that says what was written.
const WRITTEN: &str = "written";

/// The relations that the transaction holds a lock on that changes them, with their columns, constraints and triggers, as far as they
/// are the transaction's own: a field says so, or `?` where a sub-transaction or another session may have made it. The last field has
/// the rows of `pg_type` that came with a relation. And what was written into catalogs where others may be.
pub(super) fn quick_query() -> String {
    let ours = |xmin: &str| format!("case when {xmin} = top then 'ours' else '?' end");
    let made = "select from pg_attribute a where a.attrelid = r.oid and a.attnum = case when r.relkind in ('i', 'I', 'v') then 1 else -6 end";
    let others = ["pg_proc", "pg_enum", "pg_namespace", "pg_extension", "pg_policy"].map(written).join(" + ");
    let relations = ["pg_class", "pg_attribute"].map(written).join(" + ");
    format!(
        "with own as materialized (select top, age(top) as since from (select pg_current_xact_id_if_assigned()::xid as top) top where top is not null),
         relations as materialized (
            select c.oid, c.relkind, n.nspname, c.relname, c.xmin, c.reltype, own.top, own.since
            from (select distinct relation from pg_locks
                  where pid = pg_backend_pid() and granted and locktype = 'relation' and database <> '0' and relation >= '16384'
                    and mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) locked
            join pg_class c on c.oid = locked.relation join pg_namespace n on n.oid = c.relnamespace cross join own
            where c.relkind in ('r', 'p', 'i', 'I', 'v', 'm', 'S', 'f') and c.relnamespace <> 'pg_toast'::regnamespace::oid
         )
         select {KIND} as kind, nspname as schema, relname as name, exists ({made} and age(a.xmin) <= since) as created,
                case when exists ({made} and age(a.xmin) < since) then '?' else {relation} end as whose,
                (select 1 + (t.typarray <> '0')::int from pg_type t where t.oid = r.reltype and age(t.xmin) <= since) as types
         from relations r where age(xmin) <= since
         union all
         select 'column', nspname, relname || '.' || a.attname, true, {column}, null
         from relations r join pg_attribute a on a.attrelid = r.oid
         where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'p') and age(a.xmin) <= since
           and not exists (select from pg_attribute s where s.attrelid = r.oid and s.attnum = -6 and age(s.xmin) <= since)
         union all
         select 'constraint', nspname, k.conname || ' on ' || relname, true, {constraint}, null
         from relations r join pg_constraint k on k.conrelid = r.oid where age(k.xmin) <= since
         union all
         select 'constraint', n.nspname, k.conname, true, {constraint}, null
         from pg_constraint k join pg_namespace n on n.oid = k.connamespace cross join own where k.conrelid = '0' and age(k.xmin) <= since
         union all
         select 'trigger', nspname, t.tgname || ' on ' || relname, true, {trigger}, null
         from relations r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal and age(t.xmin) <= since
         union all
         select '{WRITTEN}', ({relations})::text, ({others})::text, null, current_setting('track_counts'), {types}",
        relation = ours("xmin"),
        column = ours("a.xmin"),
        constraint = ours("k.xmin"),
        trigger = ours("t.xmin"),
        types = written("pg_type"),
    )
}

/// What [`objects_query`] found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    /// Whether something was changed that no lock leads to: then it is to look everywhere.
    elsewhere: bool,
    found: Vec<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    kind: String,
    schema: String,
    name: String,
    created: bool,
    made_by: Option<u64>,
}

impl Found {
    fn read(row: &SimpleQueryRow) -> Option<Found> {
        Some(Found {
            kind: text(row, 0)?.to_owned(),
            schema: text(row, 1)?.to_owned(),
            name: text(row, 2)?.to_owned(),
            created: text(row, 3) == Some("t"),
            made_by: text(row, 4).and_then(|text| text.parse().ok()),
        })
    }
}

impl Objects {
    /// Reads the rows of [`objects_query`].
    fn read(sets: &ResultSets, place: usize) -> Objects {
        let rows = sets.set_from_end(place);
        let found = rows.iter().filter_map(Found::read);
        Objects { elsewhere: rows.iter().any(|row| text(row, 0) == Some(ELSEWHERE)), found: found.collect() }
    }

    /// Reads the rows of [`quick_query`]. None if they are not all, or may be another's.
    fn quick(sets: &ResultSets, place: usize) -> Option<Objects> {
        let is_count = |row: &&SimpleQueryRow| text(row, 0) == Some(WRITTEN);
        let rows = sets.set_from_end(place);
        let number = |row, at| text(row, at).map_or(Some(0), |text| text.parse::<u64>().ok());
        let counts = rows.iter().find(is_count)?;
        let rows = || rows.iter().filter(|row| !is_count(row));
        let found = rows().map(|row| {
            let made = Found::read(row)?;
            (text(row, 4) == Some("ours")).then_some(made)
        });
        let mut found = found.collect::<Option<Vec<_>>>()?;
        let types = rows().map(|row| number(row, 5)).sum::<Option<u64>>()?;
        // The server also counts what was undone, or what was written twice: then it is not known, and looked for.
        let all = text(counts, 4) != Some("off")
            && number(counts, 2)? == 0
            && number(counts, 5)? == types
            && (number(counts, 1)? == 0 || !found.is_empty());
        found.sort_by(|one, other| (&one.kind, &one.schema, &one.name).cmp(&(&other.kind, &other.schema, &other.name)));
        all.then_some(Objects { elsewhere: false, found })
    }

    /// The youngest of the transactions, or sub-transactions, that made them.
    pub(crate) fn youngest(&self) -> Option<u64> {
        self.found.iter().filter_map(|found| found.made_by).max()
    }

    /// What was created or altered, without what is the ledger's.
    pub(crate) fn changes(&self, ledger: &str) -> Vec<ObjectChange> {
        let object = |found: &Found| match (found.kind.as_str(), found.schema.as_str()) {
            ("schema" | "extension", _) | (_, "public") => shown_name(&found.name),
            (_, schema) => shown_name(&format!("{schema}.{}", found.name)),
        };
        let change = |found: &Found| ObjectChange { kind: found.kind.clone(), object: object(found), created: found.created };
        let mut objects: Vec<ObjectChange> = self.found.iter().filter(|found| found.schema != ledger).map(change).collect();
        // Tables and columns first: that is what people look for.
        let rank = |kind: &str| {
            ["schema", "extension", "type", "table", "column", "view", "index"]
                .iter()
                .position(|first| *first == kind)
                .unwrap_or(usize::MAX)
        };
        objects.sort_by_key(|object| rank(&object.kind));
        objects
    }
}
