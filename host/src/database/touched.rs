//! What the session's transaction holds locks on. Whatever it changed is among it, so one look at them, however large the catalog,
//! tells the locks, the rows that were changed, and whether the block reached where it must not.

use super::{
    effects::Counters,
    simple::{ResultSets, text},
};
use crate::report::{Lock, RowCounts, shown_name};
use plinth_manifest::TableName;
use tokio_postgres::SimpleQueryRow;

/// What is locked, for [`ROWS_OF_TOUCHED`], as the first part of a WITH. The system's own relations, which every question locks by the
/// dozen, are left out by their number before they are looked up: those of initdb are below 16384 (FirstNormalObjectId,
/// `access/transam.h`), and those without a database are shared by all.
pub(super) const HELD: &str = "held as materialized (
        select l.locktype, l.mode, l.relation, c.oid, c.relkind, n.nspname, c.relname, c.xmin, c.reltype
        from pg_locks l left join pg_class c on c.oid = l.relation left join pg_namespace n on n.oid = c.relnamespace
        where l.pid = pg_backend_pid() and l.granted and l.database <> '0'
          and (l.locktype = 'advisory' or l.locktype = 'relation' and l.relation >= '16384')
          and c.relnamespace is distinct from 'pg_toast'::regnamespace::oid
     )";

/// The rows of [`Touched`]. Rows are changed under ROW EXCLUSIVE or more; the counters of what is only read are not asked for.
pub(super) const ROWS_OF_TOUCHED: &str = "select h.locktype, h.nspname, h.relname, h.relation::text, h.mode, s.ins, s.upd, s.del
     from held h
     left join lateral (select pg_stat_get_xact_tuples_inserted(h.oid) as ins, pg_stat_get_xact_tuples_updated(h.oid) as upd,
                               pg_stat_get_xact_tuples_deleted(h.oid) as del) s
       on h.relkind in ('r', 'm', 'p') and h.mode not in ('AccessShareLock', 'RowShareLock')";

/// The query for [`Touched`].
pub(crate) fn touched_query() -> String {
    format!("with {HELD} {ROWS_OF_TOUCHED}")
}

/// Types of locks, as `pg_locks` has them.
pub(super) const RELATION: &str = "relation";
pub(super) const ADVISORY: &str = "advisory";

/// The relations that are locked, catalogs excepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Touched {
    advisory: bool,
    relations: Vec<Relation>,
}

#[derive(Clone, Debug, PartialEq)]
struct Relation {
    /// None if it was dropped.
    name: Option<TableName>,
    oid: String,
    mode: String,
    changed: RowCounts,
}

impl Touched {
    /// Reads the rows of [`touched_query`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Touched {
        Touched::of(sets.set_from_end(place))
    }

    /// The same of rows among others.
    pub(super) fn of(rows: &[SimpleQueryRow]) -> Touched {
        let advisory = rows.iter().any(|row| text(row, 0) == Some(ADVISORY));
        let number = |row, at| text(row, at).and_then(|text| text.parse().ok()).unwrap_or(0);
        let relations = rows.iter().filter(|row| text(row, 0) == Some(RELATION)).filter_map(|row| {
            Some(Relation {
                name: text(row, 1).zip(text(row, 2)).map(|(schema, table)| TableName::new(schema, table)),
                oid: text(row, 3)?.to_owned(),
                mode: text(row, 4)?.to_owned(),
                changed: RowCounts { inserted: number(row, 5), updated: number(row, 6), deleted: number(row, 7) },
            })
        });
        let mut relations: Vec<Relation> = relations.collect();
        let order = |relation: &Relation| (relation.name.is_none(), relation.name.clone(), relation.mode.clone());
        relations.sort_by_cached_key(order);
        Touched { advisory, relations }
    }

    /// The locks, without those on the ledger.
    pub(crate) fn locks(&self, ledger: &str) -> Vec<Lock> {
        let others = self.relations.iter().filter(|relation| !relation.is_in(ledger));
        let locks = others.map(|relation| Lock { object: relation.shown(), mode: relation.mode.clone() });
        locks.collect()
    }

    /// The rows that were changed, by table.
    pub(crate) fn counters(&self) -> Counters {
        let changed = self.relations.iter().filter(|relation| relation.changed.total() > 0);
        Counters::of(changed.filter_map(|relation| Some((relation.name.clone()?, relation.changed))))
    }

    /// What is held that a block must not hold: advisory locks, which a rollback does not release, and locks on the ledger that are
    /// stronger than a look.
    pub(crate) fn reach(&self, ledger: &str) -> Option<&'static str> {
        if self.advisory {
            return Some("the block holds an advisory lock");
        }
        let reached = |relation: &Relation| relation.is_in(ledger) && relation.mode != "AccessShareLock";
        self.relations.iter().any(reached).then_some("the block reached into the ledger")
    }
}

impl Relation {
    fn is_in(&self, schema: &str) -> bool {
        self.name.as_ref().is_some_and(|name| name.schema == schema)
    }

    fn shown(&self) -> String {
        match &self.name {
            Some(name) if name.schema == "public" => shown_name(&name.table),
            Some(name) => shown_name(&format!("{}.{}", name.schema, name.table)),
            None => format!("dropped relation {}", self.oid),
        }
    }
}
