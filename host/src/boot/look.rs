//! Whose turn it is: nobody's, since there is nothing to do; another replica's, which we join; or ours.

use super::{Loaded, milliseconds};
use crate::{
    database::{
        Connection, ResultSets,
        lock::{Held, LockKey, Tried, pause},
    },
    error::BootError,
    host::Host,
    ledger::{LastBoot, LedgerError, Look},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
};
use std::{collections::BTreeSet, time::Instant};

/// What the look came to.
pub(super) enum Turn {
    /// There is nothing to do.
    Nothing(Box<Report>),
    /// Another replica did it.
    Joined(Box<Report>),
    /// We hold the lock.
    Ours {
        held: Box<Held>,
        /// Whether there was no ledger when we looked.
        no_ledger: bool,
    },
}

/// Looks without a lock; takes it, unless there is nothing to do or somebody else does it meanwhile.
pub(super) async fn turn(host: &Host, loaded: &Loaded, connection: &Connection, started: Instant) -> Result<Turn, BootError> {
    let ledger = &host.ledger;
    let first = ledger.read_look(ResultSets::of(connection.client(), &ledger.look_query()).await)?;
    if let Some(last) = first.last().filter(|last| last.digest == loaded.digest && !loaded.has_rules()) {
        return Ok(Turn::Nothing(report(host, loaded, last, BootState::Complete, connection.trips().get(), started, |_| {
            Outcome::Skipped
        })));
    }
    let key = LockKey::new(&ledger.schema, &ledger.application);
    let mut locking = host.database.connect(&host.connection_name()).await?;
    let mut holder = None;
    for attempt in 0.. {
        let unreadable = |source| LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source };
        let sets = locking.send(&key.try_statement()).await.map_err(unreadable)?;
        match Held::from_try(locking, &sets, 0) {
            Tried::Held(held) => {
                // Whoever held it until now may have done our work.
                if attempt == 0 {
                    return Ok(Turn::Ours { held: Box::new(held), no_ledger: matches!(first, Look::Absent) });
                }
                let trips = held.round_trips();
                return Ok(joined(host, loaded, connection, &first, trips, started).await?.map_or_else(
                    || Turn::Ours { held: Box::new(held), no_ledger: matches!(first, Look::Absent) },
                    Turn::Joined,
                ));
            }
            Tried::Busy { connection: again, holder: who } => {
                if let Some(report) = joined(host, loaded, connection, &first, again.trips().get(), started).await? {
                    return Ok(Turn::Joined(report));
                }
                if holder != who {
                    host.teller.waiting(who.as_deref());
                    holder = who;
                }
                if started.elapsed() > host.lock_deadline {
                    return Err(BootError::Locked { waited: host.lock_deadline, holder });
                }
                tokio::time::sleep(pause(attempt)).await;
                locking = again;
            }
        }
    }
    Err(BootError::Locked { waited: host.lock_deadline, holder })
}

/// The report of a boot with our set that was completed since we looked first, if there is one.
async fn joined(
    host: &Host,
    loaded: &Loaded,
    connection: &Connection,
    first: &Look,
    other_trips: u64,
    started: Instant,
) -> Result<Option<Box<Report>>, BootError> {
    let ledger = &host.ledger;
    let now = ledger.read_look(ResultSets::of(connection.client(), &ledger.look_query()).await)?;
    let newer = |last: &&LastBoot| last.digest == loaded.digest && first.last().is_none_or(|before| before.id < last.id);
    let Some(last) = now.last().filter(newer) else { return Ok(None) };
    let unreadable = |source| LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source };
    let sets = connection.send(&ledger.outcomes_query(last.id)).await.map_err(unreadable)?;
    let ran: BTreeSet<&str> = sets.last().iter().filter_map(|row| row.try_get(0).ok().flatten()).collect();
    let trips = connection.trips().get() + other_trips;
    let outcome = |id: &str| if ran.contains(id) { Outcome::Joined } else { Outcome::Skipped };
    Ok(Some(report(host, loaded, last, BootState::Joined, trips, started, outcome)))
}

fn report(
    host: &Host,
    loaded: &Loaded,
    last: &LastBoot,
    state: BootState,
    round_trips: u64,
    started: Instant,
    outcome: impl Fn(&str) -> Outcome,
) -> Box<Report> {
    let in_order = loaded.order.iter().filter_map(|place| loaded.components.get(*place));
    let blocks: Vec<BlockReport> = in_order
        .map(|component| BlockReport::new(&component.manifest.id, component.manifest.kind, outcome(&component.manifest.id)))
        .collect();
    Box::new(Report {
        boot: BootReport {
            id: Some(last.id),
            state,
            duration_ms: milliseconds(started),
            round_trips,
            build: host.build.clone(),
            found: loaded.components.len(),
            ran: 0,
            skipped: blocks.iter().filter(|block| block.outcome == Outcome::Skipped).count(),
            notes: Vec::new(),
        },
        blocks,
    })
}
