//! Which objects a transaction created or altered: the catalog rows whose xmin is a transaction in progress that is not older than
//! ours. Nobody else's such rows are visible.
//!
//! A change of a relation takes a lock on it, so only what is locked is looked at, by index: the look costs the same in a database of ten
//! thousand tables. What has no relation is scanned for if the transaction's counters say that its catalog was written.
//!
//! Most blocks make tables, columns, indexes and constraints and nothing else: [`measured`](super::measured) finds these in the round of all
//! that is asked, and knows whether these are all.

use super::simple::{ResultSets, text};
use crate::report::{ObjectChange, shown_name};
use tokio_postgres::SimpleQueryRow;

/// Objects created or altered by the transaction that runs. In a rehearsal, only those that are younger than what the blocks before did in
/// the same transaction. `everywhere` also looks at relations that are not locked, and costs a scan of the catalog: GRANT locks nothing.
pub(crate) fn objects_query(after: Option<u64>, everywhere: bool) -> String {
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
pub(super) const KIND: &str =
    "case r.relkind when 'i' then 'index' when 'I' then 'index' when 'v' then 'view' when 'm' then 'view'
                                  when 'S' then 'sequence' when 'r' then 'table' when 'p' then 'table' else r.relkind::text end";

/// The kind of the row that says that something was changed without a lock on it.
const ELSEWHERE: &str = "elsewhere";

/// The catalogs that objects are in.
pub(super) const CATALOGS: [&str; 10] = [
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
pub(super) fn written(catalog: &str) -> String {
    // Named in full: a function of a block's for `regclass` would fit better than PostgreSQL's, which is for any oid.
    ["inserted", "updated"]
        .map(|what| format!("pg_catalog.pg_stat_get_xact_tuples_{what}('pg_catalog.{catalog}'::regclass)"))
        .join(" + ")
}

/// What [`objects_query`] found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    found: Vec<Found>,
}

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) kind: String,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) created: bool,
    /// The transaction, or sub-transaction.
    pub(super) made_by: Option<u64>,
}

impl Found {
    /// Reads a row of [`objects_query`], or of what names its columns as that does.
    pub(super) fn read(row: &SimpleQueryRow) -> Option<Found> {
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
    /// Reads the rows of [`objects_query`]. None if something was changed that no lock leads to, and it was not looked everywhere.
    pub(crate) fn read(sets: &ResultSets, place: usize, everywhere: bool) -> Option<Objects> {
        let rows = sets.set_from_end(place);
        let elsewhere = rows.iter().any(|row| text(row, 0) == Some(ELSEWHERE));
        (everywhere || !elsewhere).then(|| Objects { found: rows.iter().filter_map(Found::read).collect() })
    }

    /// Of what was found some other way, in any order.
    pub(super) fn of(mut found: Vec<Found>) -> Objects {
        found.sort_by(|one, other| (&one.kind, &one.schema, &one.name).cmp(&(&other.kind, &other.schema, &other.name)));
        Objects { found }
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
