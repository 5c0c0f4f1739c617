//! Where each backfill stands: its cursor, written in the transaction of the batch that moved it.

use super::{Ledger, Record};
use crate::{
    database::{ResultSets, literal},
    load::Component,
    report::RowCounts,
};
use std::collections::BTreeMap;

/// Where a backfill stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the next batch goes on from; none is the beginning.
    pub(crate) cursor: Option<String>,
    /// Batches that were committed.
    pub(crate) batches: u64,
    /// Rows that they changed, by table.
    pub(crate) rows: BTreeMap<String, RowCounts>,
    /// Rows of the next batch, as it was found out.
    pub(crate) size: Option<u64>,
    /// How far it has come and of how much, in the block's own words.
    pub(crate) done: Option<u64>,
    pub(crate) total: Option<u64>,
}

impl Ledger {
    /// The table, made where the others are.
    pub(super) fn create_backfills(&self) -> String {
        format!(
            "create table if not exists {}.backfills (
                application text not null,
                id text not null,
                cursor text,
                batches bigint not null default 0,
                rows jsonb not null default '{{}}',
                size bigint,
                done bigint,
                total bigint,
                started timestamptz not null default clock_timestamp(),
                updated timestamptz not null default clock_timestamp(),
                finished timestamptz,
                primary key (application, id))",
            self.quoted()
        )
    }
}

impl Record {
    /// The SQLSTATE of an [`advance`](Record::advance) that found the backfill elsewhere: that of a division by zero.
    pub(crate) const MOVED: &str = "22012";

    /// Notes that a backfill is under way, and tells where it stands. One that was finished begins anew.
    pub(crate) fn open_backfill(&self, component: &Component) -> String {
        let (schema, application, id) = (self.ledger.quoted(), self.ledger.application(), literal(&component.manifest.id));
        format!(
            "{};
             insert into {schema}.backfills as b (application, id) values ({application}, {id})
             on conflict (application, id) do update set cursor = null, batches = 0, rows = '{{}}', size = null, done = null, total = null,
                started = clock_timestamp(), updated = clock_timestamp(), finished = null where b.finished is not null;
             select cursor, batches, rows, size, done, total from {schema}.backfills where application = {application} and id = {id}",
            self.started(component)
        )
    }

    /// Moves a backfill from one batch to the next. It fails, and its transaction with it, unless the backfill stands where the batch
    /// began: whoever else moved it has worked on the same rows.
    pub(crate) fn advance(&self, id: &str, to: &Place, finished: bool) -> String {
        let number = |number: Option<u64>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        format!(
            "with moved as (
                update {}.backfills set cursor = {}, batches = {}, rows = {}, size = {}, done = {}, total = {}, updated = clock_timestamp(),
                    finished = {} where application = {} and id = {} and batches = {} and finished is null returning 1)
             select 1 / count(*) from moved",
            self.ledger.quoted(),
            to.cursor.as_deref().map_or_else(|| "null".to_owned(), literal),
            to.batches,
            // Counts by names always serialise.
            literal(&serde_json::to_string(&to.rows).unwrap_or_default()),
            number(to.size),
            number(to.done),
            number(to.total),
            if finished { "clock_timestamp()" } else { "null" },
            self.ledger.application(),
            literal(id),
            to.batches.saturating_sub(1),
        )
    }
}

impl Place {
    /// Reads the row of [`Record::open_backfill`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Option<Place> {
        let row = sets.set_from_end(place).first()?;
        let field = |place| row.try_get(place).ok().flatten();
        let number = |place| field(place).and_then(|text| text.parse().ok());
        Some(Place {
            cursor: field(0).map(str::to_owned),
            batches: number(1)?,
            rows: field(2).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            size: number(3),
            done: number(4),
            total: number(5),
        })
    }

    /// Rows that were changed, of all tables together.
    pub(crate) fn total_rows(&self) -> u64 {
        self.rows.values().map(RowCounts::total).sum()
    }
}
