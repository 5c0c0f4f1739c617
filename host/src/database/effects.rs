//! What a block did, as the database tells it.
//!
//! Rows come from the session's own transaction counters, dynamic SQL and triggers included. The counters still hold what
//! earlier transactions of the session did, as long as they were not flushed, so a difference is taken. Locks are those of
//! `pg_locks` before COMMIT; objects are the catalog rows that the transaction made.

use super::{
    around::HOST_PATH,
    simple::{ResultSets, text},
};
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

/// The query for [`Counters`] of everything that there is. Where nothing was rolled back, [`Touched`](super::touched::Touched) tells as
/// much and does not grow with the catalog.
pub(crate) const COUNTERS: &str = "select n.nspname, c.relname, s.ins, s.upd, s.del
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     cross join lateral (select pg_stat_get_xact_tuples_inserted(c.oid) as ins, pg_stat_get_xact_tuples_updated(c.oid) as upd,
                                pg_stat_get_xact_tuples_deleted(c.oid) as del) s
     where c.relkind in ('r', 'm', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and s.ins + s.upd + s.del > 0";

/// The same in the middle of a block, whatever it has made of the search path: that is as it was afterwards.
pub(crate) fn counters_anyway() -> String {
    format!("savepoint {COUNTED}; {HOST_PATH}; {COUNTERS}; rollback to savepoint {COUNTED}; release savepoint {COUNTED}")
}

/// The savepoint that [`counters_anyway`] goes back to.
const COUNTED: &str = "plinth_counted";

impl Counters {
    /// Reads the rows of [`counters_anyway`].
    pub(crate) fn read_anyway(sets: &ResultSets) -> Counters {
        Counters::read(sets, 2)
    }

    /// Reads the rows of [`COUNTERS`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Counters {
        let number = |row, at| text(row, at).and_then(|text| text.parse().ok()).unwrap_or(0);
        let tables = sets.set_from_end(place).iter().map(|row| {
            let table = TableName::new(text(row, 0).unwrap_or_default(), text(row, 1).unwrap_or_default());
            (table, RowCounts { inserted: number(row, 2), updated: number(row, 3), deleted: number(row, 4) })
        });
        Counters(tables.collect())
    }

    pub(crate) fn of(changed: impl Iterator<Item = (TableName, RowCounts)>) -> Counters {
        Counters(changed.collect())
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
