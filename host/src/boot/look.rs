//! Whose turn it is: nobody's, since there is nothing to do; another replica's, which we join; or ours.

use super::{Listed, milliseconds, sessions::Opening};
use crate::{
    database::Connection,
    error::BootError,
    host::Host,
    ledger::{KNOWN, Known, LastBoot, LedgerError, Look},
    lock::{Attempt, Claimant, Claimed, Held, Mode, pause},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio::task::JoinHandle;

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
        /// What the boot works on.
        opening: Opening,
        /// Whether a pooler was found in between.
        pooled: bool,
        /// Whether this set of blocks was complete before: then only rules have something to do.
        once_complete: bool,
    },
}

/// Looks without a lock; takes it, unless there is nothing to do or somebody else does it meanwhile. From then on the connection is the lock's.
pub(super) async fn turn(
    host: &Host,
    listed: &Arc<Listed>,
    connection: &Arc<Connection>,
    started: Instant,
) -> Result<Turn, BootError> {
    let ledger = &host.ledger;
    let rules = listed.has_rules();
    let table = ledger.look_table();
    let look = connection.table(&table);
    // Rules run at every boot, so blocks are loaded while the server is asked. Without them there is most likely nothing to do, and what is
    // said then is put together meanwhile.
    let loading = rules.then(|| load(host, listed));
    let skipped = async {
        Connection::leaves().await;
        if rules { Vec::new() } else { reports(listed, |_| Outcome::Skipped) }
    };
    let (looked, skipped) = tokio::join!(look, skipped);
    let first = ledger.read_look(looked)?;
    if let Some(last) = first.last().filter(|last| last.digest == listed.digest && !rules) {
        return Ok(Turn::Nothing(report(host, skipped, last, BootState::Complete, connection.trips().get(), started)));
    }
    // Who has to wait has loaded them in vain, on a processor of its own.
    let mut loading = Some(loading.unwrap_or_else(|| load(host, listed)));
    let mut claimant = Claimant::new(host, connection.clone(), first.stands());
    // Read again under the lock: whoever held it until then may have done our work.
    let under_the_lock = format!("{}; {}", ledger.look_query(), ledger.known_query(&listed.digest, true));
    let mut told = None;
    for attempt in 0.. {
        if attempt > 0 {
            tokio::time::sleep(pause(attempt - 1)).await;
            // Whoever had the lock may have done our work: then we need none.
            let now = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
            if let Some(report) = joined(host, listed, connection, &first, &now, started).await? {
                return Ok(Turn::Joined(report));
            }
        }
        let holder = match claimant.lock().await? {
            Attempt::Busy { holder } => holder,
            Attempt::Ours(locked) => {
                // Without rules, what brought us here is most likely a migration.
                let migrates = !rules && locked.mode() == Mode::Session;
                // Who has to wait opens nothing else. What is asked in the sessions needs a ledger.
                let opening = first.stands().then(|| Opening::new(host, migrates));
                // Before anything is written, what is wrong with the blocks is said, and a cache that cannot be trusted is refused. Nobody
                // comes here twice, unless a lease was in the way.
                let engine = host.clone();
                let engine = tokio::task::spawn_blocking(move || engine.sandbox().map(drop));
                if let Some(loading) = loading.take() {
                    done(loading).await?;
                }
                done(engine).await?;
                match claimant.claim(locked, &under_the_lock).await? {
                    Attempt::Busy { holder } => holder,
                    Attempt::Ours(Claimed { held, read }) => {
                        let now = ledger.read_look_in(&read, KNOWN)?;
                        if let Some(report) = joined(host, listed, connection, &first, &now, started).await? {
                            held.release().await;
                            return Ok(Turn::Joined(report));
                        }
                        let once_complete = now.last().is_some_and(|last| last.digest == listed.digest);
                        let opening = opening.unwrap_or_else(|| Opening::new(host, migrates));
                        let (held, known) = (Box::new(held), Known::read(&read, 0));
                        return Ok(Turn::Ours { held, known, opening, pooled: claimant.found_pooler(), once_complete });
                    }
                }
            }
        };
        if told.as_ref() != Some(&holder) {
            host.teller.waiting(holder.as_deref());
            told = Some(holder.clone());
        }
        if started.elapsed() > host.lock_deadline {
            return Err(BootError::Locked { waited: host.lock_deadline, holder });
        }
    }
    Err(BootError::Locked { waited: host.lock_deadline, holder: told.flatten() })
}

/// Waits for what is done on a thread that may wait.
async fn done(work: JoinHandle<Result<(), BootError>>) -> Result<(), BootError> {
    work.await.map_err(|_| BootError::Interrupted(None))?
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
    started: Instant,
) -> Result<Option<Box<Report>>, BootError> {
    let ledger = &host.ledger;
    let newer = |last: &&LastBoot| last.digest == listed.digest && first.last().is_none_or(|before| before.id < last.id);
    let Some(last) = now.last().filter(newer) else { return Ok(None) };
    let unreadable = |source| LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source };
    let sets = connection.ask(&ledger.outcomes_query(last.id)).await.map_err(unreadable)?;
    let ran: BTreeSet<&str> = sets.last().iter().filter_map(|row| row.try_get(0).ok().flatten()).collect();
    let outcome = |id: &str| if ran.contains(id) { Outcome::Joined } else { Outcome::Skipped };
    Ok(Some(report(host, reports(listed, outcome), last, BootState::Joined, connection.trips().get(), started)))
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
