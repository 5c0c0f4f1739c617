//! Work on many rows, in batches.

use crate::{
    Checks, Db, Error, Outcome, Result,
    bindings::{backfill::exports::plinth::block::fill, migration::plinth::block::types as contract},
    block::{checks, entered},
    types::{Check, Failure},
};
use std::{fmt::Display, str::FromStr};

/// A block that works on many rows in batches, until it is done. Exported with [`backfill!`](crate::backfill).
///
/// The loop is the host's. It calls [`step`](Backfill::step) with the cursor that the last batch returned, and commits batch, cursor
/// and its ledger's row in one transaction, so that a kill loses at most the batch that ran and no row is worked on twice. The next
/// boot, of this or another replica, goes on from the cursor. The host measures what each batch changed; a batch that changes
/// nothing and returns the cursor that it got is a failure, since it would go on for ever. After the last batch, `verify` looks whether
/// everything is done: a backfill has at least one check, because a step that says too early that it is done is caught by nothing else.
///
/// Walk along a key that does not change, by an index, and take rows after the cursor:
///
/// ```
/// use plinth_block::prelude::*;
///
/// struct CostsInCents;
///
/// impl Backfill for CostsInCents {
///     type Cursor = i64;
///
///     fn step(db: &Db, after: Option<i64>, batch: &Batch) -> Result<Step<i64>> {
///         let last: Option<i64> = db.query_one(
///             "with batch as (select id from test_run_log where id > $1 order by id limit $2),
///                   changed as (update test_run_log r set cost_cents = round(cost * 100) from batch where r.id = batch.id)
///              select max(id) from batch",
///             &[&after.unwrap_or(0), &batch.limit()],
///         )?;
///         Ok(last.map_or_else(Step::done, more))
///     }
///
///     fn verify(db: &Db) -> Result<Checks> {
///         let mut checks = Checks::new();
///         checks.no_rows(db, "every run has its cost in cents", "select id from test_run_log where cost_cents is null and cost is not null", &[])?;
///         Ok(checks)
///     }
/// }
///
/// # /* the macro reads block.toml, which this example does not have
/// plinth_block::backfill!(CostsInCents);
/// # */
/// ```
///
/// `block.toml` says `kind = "backfill"` and may say how large batches are, and that the backfill runs behind the API's start:
///
/// ```toml
/// id = "0070_costs_in_cents"
/// kind = "backfill"
/// title = "Costs are kept in cents"
/// writes = ["test_run_log.cost_cents"]
/// when = "background"     # the boot completes before it; "boot", the default, waits for it
///
/// [batch]
/// rows = 1000             # the first batch
/// most-rows = 100000      # none is larger
/// milliseconds = 500      # the time that a batch is to take
///
/// [budget]                # of each batch
/// rows = 100000
/// ```
///
/// The host makes batches larger or smaller, so that one takes about that time, and smaller, with pauses, while replicas lag behind
/// or other sessions wait for a lock of a batch. A block that must find the backfill finished names it under `after`. While it runs in
/// the background, such blocks wait for a later boot, and so do migrations that read what it writes; rules run at every boot anyway.
pub trait Backfill {
    /// What the next batch goes on from: `i64`, `String`, or a type of one's own that can be written as text and read again.
    type Cursor: Display + FromStr;

    /// Does one batch after the cursor, of at most as many rows as the host grants. None is the beginning.
    ///
    /// Nothing in memory lasts from one batch to the next.
    ///
    /// # Errors
    ///
    /// Any error rolls this batch back; those before it stay.
    fn step(db: &Db, after: Option<Self::Cursor>, batch: &Batch) -> Result<Step<Self::Cursor>>;

    /// Looks whether everything is done. Writes nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be looked at. A condition that does not hold is no error, it is part of [`Checks`].
    fn verify(db: &Db) -> Result<Checks>;
}

/// What the host grants one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Rows that it should work on, at most.
    pub rows: u64,
}

impl Batch {
    /// A batch of so many rows: for tests.
    pub fn of(rows: u64) -> Batch {
        Batch { rows }
    }

    /// The rows as a parameter of LIMIT.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }
}

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<C> {
    /// There is more to do after the cursor.
    More {
        /// Where the next batch goes on.
        cursor: C,
        /// How far it has come and of how much, in whatever the block counts: for people.
        progress: Option<(u64, Option<u64>)>,
    },
    /// Nothing is left, or the work is put off: as in other blocks.
    End(Outcome),
}

impl<C> Step<C> {
    /// Nothing is left.
    pub fn done() -> Step<C> {
        Step::End(Outcome::Done(None))
    }

    /// Not now, and why. This batch is rolled back; the next boot goes on from the last one.
    pub fn defer(reason: impl Into<String>) -> Step<C> {
        Step::End(Outcome::Deferred(reason.into()))
    }
}

/// There is more to do after the cursor.
pub fn more<C>(cursor: C) -> Step<C> {
    Step::More { cursor, progress: None }
}

/// There is more to do after the cursor, and this is how far the work has come, for the progress bar.
pub fn more_of<C>(cursor: C, done: u64, total: u64) -> Step<C> {
    Step::More { cursor, progress: Some((done, Some(total))) }
}

impl<T: Backfill> fill::Guest for T {
    fn step(cursor: Option<String>, batch: contract::Batch) -> Result<contract::Stepped, Failure> {
        step::<T>(cursor, &Batch { rows: batch.rows }).map_err(Error::into_failure)
    }

    fn verify() -> Result<Vec<Check>, Failure> {
        checks(T::verify)
    }
}

fn step<T: Backfill>(cursor: Option<String>, batch: &Batch) -> Result<contract::Stepped> {
    let unreadable = |text: String| Error::message(format!("the cursor `{text}` is none of this block's"));
    let cursor = cursor.map(|text| text.parse::<T::Cursor>().map_err(|_| unreadable(text))).transpose()?;
    Ok(match T::step(&entered(), cursor, batch)? {
        Step::More { cursor, progress } => contract::Stepped::More(contract::Position {
            cursor: cursor.to_string(),
            progress: progress.map(|(done, total)| contract::Progress { done, total }),
            extra: Vec::new(),
        }),
        Step::End(Outcome::Done(text)) => contract::Stepped::Done(text),
        Step::End(Outcome::Deferred(reason)) => contract::Stepped::Deferred(reason),
    })
}
