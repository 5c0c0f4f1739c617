//! What a block did, as the database tells it.
//!
//! Rows come from the session's own transaction counters, dynamic SQL and triggers included. The counters still hold what
//! earlier transactions of the session did, as long as they were not flushed, so a difference is taken. Objects are the
//! catalog rows whose xmin is a transaction in progress that is not older than ours: nobody else's such rows are visible.
//! Locks are those of `pg_locks` before COMMIT.

use super::simple::{ResultSets, literal, text};
use crate::report::{Lock, ObjectChange, RowCounts, shown_name};
use plinth_manifest::TableName;
use std::collections::BTreeMap;

/// Rows changed so far, by table, catalogs included.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters(BTreeMap<TableName, RowCounts>);

/// What a block did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) rows: BTreeMap<TableName, RowCounts>,
    pub(crate) objects: Vec<ObjectChange>,
    pub(crate) locks: Vec<Lock>,
    /// The youngest transaction, or sub-transaction, among those that made the objects: a later change has a younger one.
    pub(crate) youngest: Option<u64>,
}

impl Effects {
    /// Whether anything was changed.
    pub(crate) fn any(&self) -> bool {
        !self.rows.is_empty() || !self.objects.is_empty()
    }

    /// Rows by the table's name with its schema.
    pub(crate) fn rows_by_name(&self) -> BTreeMap<String, RowCounts> {
        self.rows.iter().map(|(table, counts)| (shown_name(&format!("{}.{}", table.schema, table.table)), *counts)).collect()
    }

    pub(crate) fn total_rows(&self) -> u64 {
        self.rows.values().map(RowCounts::total).sum()
    }
}

/// The query for [`Counters`].
pub(crate) const COUNTERS: &str = "select n.nspname, c.relname, s.ins, s.upd, s.del
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     cross join lateral (select pg_stat_get_xact_tuples_inserted(c.oid) as ins, pg_stat_get_xact_tuples_updated(c.oid) as upd,
                                pg_stat_get_xact_tuples_deleted(c.oid) as del) s
     where c.relkind in ('r', 'm', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and s.ins + s.upd + s.del > 0";

impl Counters {
    /// Reads the rows of [`COUNTERS`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Counters {
        let number = |row, at| text(row, at).and_then(|text| text.parse().ok()).unwrap_or(0);
        let tables = sets.set_from_end(place).iter().map(|row| {
            let table = TableName::new(text(row, 0).unwrap_or_default(), text(row, 1).unwrap_or_default());
            (table, RowCounts { inserted: number(row, 2), updated: number(row, 3), deleted: number(row, 4) })
        });
        Counters(tables.collect())
    }

    /// What came since then.
    pub(crate) fn since(&self, then: &Counters) -> BTreeMap<TableName, RowCounts> {
        let changed = self.0.iter().map(|(table, now)| (table.clone(), now.less(then.0.get(table).copied().unwrap_or_default())));
        changed.filter(|(_, counts)| counts.total() > 0).collect()
    }

    /// Counts what a rolled back sub-step did as having been there before, so that it is no effect.
    pub(crate) fn absorb(&mut self, undone: &BTreeMap<TableName, RowCounts>) {
        for (table, counts) in undone {
            self.0.entry(table.clone()).or_default().add(*counts);
        }
    }
}

/// Locks of the own session on relations that are neither catalogs nor the ledger's.
pub(crate) fn locks_query(ledger: &str) -> String {
    format!(
        "select coalesce(nullif(n.nspname, 'public') || '.', '') || c.relname, 'dropped relation ' || l.relation, l.mode
         from pg_locks l left join pg_class c on c.oid = l.relation left join pg_namespace n on n.oid = c.relnamespace
         where l.locktype = 'relation' and l.granted and l.pid = pg_backend_pid()
           and l.database = (select oid from pg_database where datname = current_database())
           and (n.nspname is null or n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', {}))
         order by 1, 2, 3",
        literal(ledger)
    )
}

pub(crate) fn read_locks(sets: &ResultSets, place: usize) -> Vec<Lock> {
    let lock = |row| Some(Lock { object: shown_name(text(row, 0).or(text(row, 1))?), mode: text(row, 2)?.to_owned() });
    sets.set_from_end(place).iter().filter_map(lock).collect()
}

/// Objects created or altered by the transaction that runs. Nothing is scanned unless it has an id and touched the catalog
/// that would say so. In a rehearsal, only those that are younger than what the blocks before did in the same transaction.
pub(crate) fn objects_query(ledger: &str, after: Option<u64>) -> String {
    let ledger = literal(ledger);
    let top = after.map_or_else(|| "pg_current_xact_id_if_assigned()".to_owned(), |after| format!("{}", after + 1));
    format!(
        "with own as (
            select {top}::text::numeric as top
         ), ours as (
            select top, mod(top, 4294967296) as low, top - mod(top, 4294967296) as epoch from own where top is not null
         ), touched as (
            select coalesce(bool_or(pg_stat_get_xact_tuples_inserted(c) + pg_stat_get_xact_tuples_updated(c) > 0), false) as something
            from unnest(array['pg_class', 'pg_attribute', 'pg_constraint', 'pg_proc', 'pg_trigger', 'pg_type', 'pg_enum',
                              'pg_namespace', 'pg_extension', 'pg_policy']::regclass[]) c
         ), changed (kind, schema, name, created, xmin) as (
            select case c.relkind when 'i' then 'index' when 'I' then 'index' when 'v' then 'view' when 'm' then 'view'
                                  when 'S' then 'sequence' when 'r' then 'table' when 'p' then 'table' else c.relkind::text end,
                   n.nspname, c.relname,
                   exists (select from pg_attribute a, ours where a.attrelid = c.oid
                             and a.attnum = case when c.relkind in ('i', 'I') then 1 else -6 end and a.xmin::text::numeric >= low),
                   c.xmin
            from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'i', 'I', 'v', 'm', 'S', 'f')
            union all
            select 'column', n.nspname, c.relname || '.' || a.attname, true, a.xmin
            from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace, ours
            where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
              and not exists (select from pg_attribute s where s.attrelid = c.oid and s.attnum = -6 and s.xmin::text::numeric >= low)
            union all
            select 'constraint', n.nspname, k.conname || coalesce(' on ' || c.relname, ''), true, k.xmin
            from pg_constraint k join pg_namespace n on n.oid = k.connamespace left join pg_class c on c.oid = k.conrelid
            union all
            select 'function', n.nspname, p.proname, true, p.xmin from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            union all
            select 'trigger', n.nspname, t.tgname || ' on ' || c.relname, true, t.xmin
            from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace where not t.tgisinternal
            union all
            select 'type', n.nspname, t.typname, true, t.xmin
            from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.typtype in ('e', 'd', 'r')
            union all
            select 'enum value', n.nspname, t.typname || ' ' || e.enumlabel, true, e.xmin
            from pg_enum e join pg_type t on t.oid = e.enumtypid join pg_namespace n on n.oid = t.typnamespace
            union all
            select 'policy', n.nspname, p.polname || ' on ' || c.relname, true, p.xmin
            from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
            union all
            select 'schema', n.nspname, n.nspname, true, n.xmin from pg_namespace n
            union all
            select 'extension', 'public', e.extname, true, e.xmin from pg_extension e
         )
         select kind, case when kind in ('schema', 'extension') then '' else coalesce(nullif(schema, 'public') || '.', '') end || name, created,
                (case when xmin::text::numeric >= low then epoch else epoch + 4294967296 end + xmin::text::numeric)::text
         from changed, ours
         where (select something from touched) and schema not in ('pg_toast', {ledger})
           and (xmin::text::numeric >= low or low - xmin::text::numeric > 2147483648)
           and xmin::text::numeric > 2
           and pg_xact_status((case when xmin::text::numeric >= low then epoch else epoch + 4294967296 end
                               + xmin::text::numeric)::text::xid8) = 'in progress'
         order by kind, 2"
    )
}

/// The youngest of the transactions that made the objects.
pub(crate) fn read_youngest(sets: &ResultSets, place: usize) -> Option<u64> {
    sets.set_from_end(place).iter().filter_map(|row| text(row, 3)?.parse().ok()).max()
}

pub(crate) fn read_objects(sets: &ResultSets, place: usize) -> Vec<ObjectChange> {
    let object = |row| {
        Some(ObjectChange { kind: text(row, 0)?.to_owned(), object: shown_name(text(row, 1)?), created: text(row, 2)? == "t" })
    };
    let mut objects: Vec<ObjectChange> = sets.set_from_end(place).iter().filter_map(object).collect();
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
