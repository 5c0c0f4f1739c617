//! Whose turn it is: nobody's, since there is nothing to do; another replica's, which we join; or ours.

use super::{Listed, milliseconds};
use crate::{
    database::Connection,
    error::BootError,
    host::Host,
    ledger::{Known, LastBoot, LedgerError, Look},
    lock::{Attempt, Claimant, Held, pause},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio::task::JoinHandle;

/// Statements of [`Ledger::known_query`](crate::ledger::Ledger::known_query).
const KNOWN: usize = 2;

/// What the look came to.
pub(super) enum Turn {
    /// There is nothing to do.
    Nothing(Box<Report>),
    /// Another replica did it.
    Joined(Box<Report>),
    /// We hold the lock.
    Ours {
        held: Box<Held>,
        /// The ledger, read under the lock.
        known: Known,
        /// Whether a pooler was found in between.
        pooled: bool,
        /// Whether this set of blocks was complete before: then only rules have something to do.
        once_complete: bool,
    },
}

/// Looks without a lock; takes it, unless there is nothing to do or somebody else does it meanwhile.
pub(super) async fn turn(
    host: &Host,
    listed: &Arc<Listed>,
    connection: &Connection,
    started: Instant,
) -> Result<Turn, BootError> {
    let ledger = &host.ledger;
    let table = ledger.look_table();
    let look = connection.table(&table);
    // Blocks are loaded while the lock's session opens. Who has to wait has done so in vain, on a processor of its own.
    let loading = listed.has_rules().then(|| load(host, listed));
    // Rules run at every boot, so the lock will be wanted. While its session opens, this one gets to know the tables that it will read under
    // the lock: what it reads now does not count.
    let (looked, claimant, skipped) = if listed.has_rules() {
        let look = async {
            let looked = look.await;
            if looked.is_ok() {
                let _ = connection.ask(&ledger.known_query(&listed.digest)).await;
            }
            looked
        };
        let (looked, claimant) = tokio::join!(look, Claimant::new(host));
        (looked, Some(claimant?), Vec::new())
    } else {
        // Most likely there is nothing to do: what is said then is put together while the server is asked.
        let skipped = async {
            Connection::leaves().await;
            reports(listed, |_| Outcome::Skipped)
        };
        let (looked, skipped) = tokio::join!(look, skipped);
        (looked, None, skipped)
    };
    let first = ledger.read_look(looked)?;
    if let Some(last) = first.last().filter(|last| last.digest == listed.digest && !listed.has_rules()) {
        return Ok(Turn::Nothing(report(host, skipped, last, BootState::Complete, connection.trips().get(), started)));
    }
    let mut loading = Some(loading.unwrap_or_else(|| load(host, listed)));
    let mut claimant = match claimant {
        Some(claimant) => claimant,
        None => Claimant::new(host).await?,
    };
    claimant.knows_ledger(first.stands());
    // Read again under the lock: whoever held it until then may have done our work.
    let under_the_lock = format!("{}; {}", ledger.look_query(), ledger.known_query(&listed.digest));
    let mut told = None;
    for attempt in 0.. {
        let trips = claimant.round_trips();
        if attempt > 0 {
            tokio::time::sleep(pause(attempt - 1)).await;
            // Whoever had the lock may have done our work: then we need none.
            let now = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
            if let Some(report) = joined(host, listed, connection, &first, &now, trips, started).await? {
                return Ok(Turn::Joined(report));
            }
        }
        let ready = async {
            // Nobody comes here twice, unless a lease was in the way.
            if let Some(loading) = loading.take() {
                loading.await.map_err(|_| BootError::Interrupted(None))??;
            }
            let host = host.clone();
            let sandbox = tokio::task::spawn_blocking(move || host.sandbox().map(drop));
            sandbox.await.map_err(|_| BootError::Interrupted(None))?
        };
        // Before anything is written, what is wrong with the blocks is said, and a cache that cannot be trusted is refused.
        match claimant.attempt(connection, &under_the_lock, ready).await? {
            Attempt::Held(held, sets) => {
                let now = ledger.read_look_in(&sets, KNOWN)?;
                if let Some(report) = joined(host, listed, connection, &first, &now, trips, started).await? {
                    held.release().await;
                    return Ok(Turn::Joined(report));
                }
                let once_complete = now.last().is_some_and(|last| last.digest == listed.digest);
                return Ok(Turn::Ours { held, known: Known::read(&sets, 0), pooled: claimant.found_pooler(), once_complete });
            }
            Attempt::Busy { holder } => {
                if told.as_ref() != Some(&holder) {
                    host.teller.waiting(holder.as_deref());
                    told = Some(holder.clone());
                }
                if started.elapsed() > host.lock_deadline {
                    return Err(BootError::Locked { waited: host.lock_deadline, holder });
                }
            }
        }
    }
    Err(BootError::Locked { waited: host.lock_deadline, holder: told.flatten() })
}

/// Loads the blocks, on a thread that may wait. Their code stays where it is until they run.
fn load(host: &Host, listed: &Arc<Listed>) -> JoinHandle<Result<(), BootError>> {
    let (listed, host) = (listed.clone(), host.clone());
    tokio::task::spawn_blocking(move || listed.loaded(&host).map(drop))
}

/// The report of a boot with our set that was completed since we looked first, if there is one.
async fn joined(
    host: &Host,
    listed: &Listed,
    connection: &Connection,
    first: &Look,
    now: &Look,
    other_trips: u64,
    started: Instant,
) -> Result<Option<Box<Report>>, BootError> {
    let ledger = &host.ledger;
    let newer = |last: &&LastBoot| last.digest == listed.digest && first.last().is_none_or(|before| before.id < last.id);
    let Some(last) = now.last().filter(newer) else { return Ok(None) };
    let unreadable = |source| LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source };
    let sets = connection.ask(&ledger.outcomes_query(last.id)).await.map_err(unreadable)?;
    let ran: BTreeSet<&str> = sets.last().iter().filter_map(|row| row.try_get(0).ok().flatten()).collect();
    let trips = connection.trips().get() + other_trips;
    let outcome = |id: &str| if ran.contains(id) { Outcome::Joined } else { Outcome::Skipped };
    Ok(Some(report(host, reports(listed, outcome), last, BootState::Joined, trips, started)))
}

fn reports(listed: &Listed, outcome: impl Fn(&str) -> Outcome) -> Vec<BlockReport> {
    listed.blocks.iter().map(|(id, kind)| BlockReport::new(id, *kind, outcome(id))).collect()
}

fn report(
    host: &Host,
    blocks: Vec<BlockReport>,
    last: &LastBoot,
    state: BootState,
    round_trips: u64,
    started: Instant,
) -> Box<Report> {
    Box::new(Report {
        boot: BootReport {
            id: Some(last.id),
            state,
            duration_ms: milliseconds(started),
            round_trips,
            build: host.build.clone(),
            found: blocks.len(),
            ran: 0,
            skipped: blocks.iter().filter(|block| block.outcome == Outcome::Skipped).count(),
            retries: Vec::new(),
            blocks_role: None,
            notes: Vec::new(),
        },
        blocks,
    })
}
