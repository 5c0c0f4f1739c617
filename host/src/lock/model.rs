//! The lock protocol as a small model, searched exhaustively: every order in which replicas, faults and the server's atomic
//! steps can follow each other.
//!
//! A step here is what the server does atomically there: the look, the try, the claim (one INSERT … ON CONFLICT), COMMIT with its
//! fence, the closing. The faults: a replica is killed at any moment, the server gives up the connection of its lock or notices
//! a dead one's late, a lease runs out although its holder lives. `who_may_claim` is the condition of the claim; a test at
//! the end holds it against the SQL on a real server.

use super::Mode::{self, Lease, Session};
use std::collections::{HashMap, HashSet, VecDeque};

/// The runner's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    token: u8,
    mode: Mode,
    released: bool,
    expired: bool,
}

/// Where a replica is. `seen` is the number of complete boots at its first look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Start,
    Looked {
        seen: u8,
    },
    /// It has the session lock and no token yet.
    Locked {
        seen: u8,
    },
    /// It runs: the migration, if the ledger did not have it.
    Runs {
        seen: u8,
        token: u8,
        applies: bool,
    },
    /// The migration is committed; the boot is not closed.
    Closes {
        token: u8,
    },
    Done,
    Joined,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    replicas: Vec<At>,
    /// Who has the session lock.
    lock: Option<usize>,
    row: Option<Row>,
    /// How often the migration was committed.
    applied: u8,
    /// Complete boots.
    complete: u8,
    /// What may still go wrong.
    faults: u8,
}

/// The protocol, and what becomes of it without one of its parts.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    fence: bool,
    reads_again: bool,
    only_who_has_the_lock: bool,
    leases_respect_sessions: bool,
    sessions_respect_leases: bool,
}

const WHOLE: Protocol = Protocol {
    fence: true,
    reads_again: true,
    only_who_has_the_lock: true,
    leases_respect_sessions: true,
    sessions_respect_leases: true,
};

/// Who has the session lock, from a claimant's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Nobody,
    Me,
    Another,
}

/// Whether the row may be claimed: by whom, and who has the session lock.
fn who_may_claim(row: Option<Row>, claimant: Mode, lock: Taken) -> bool {
    let Some(row) = row else { return true };
    match claimant {
        // Who has the session lock takes over from any other session: that one has lost it.
        Session => lock == Taken::Me && (row.released || row.mode == Session || row.expired),
        Lease => row.released || if row.mode == Session { lock == Taken::Nobody } else { row.expired },
    }
}

impl Protocol {
    fn may_claim(self, row: Option<Row>, claimant: Mode, lock: Taken) -> bool {
        who_may_claim(row, claimant, lock)
            || match (row.map(|row| row.mode), claimant) {
                (Some(Session), Session) => !self.only_who_has_the_lock,
                (Some(Session), Lease) => !self.leases_respect_sessions,
                (Some(Lease), Session) => !self.sessions_respect_leases,
                _ => false,
            }
    }

    /// Everything that can happen next, with its name.
    fn next(self, modes: &[Mode], state: &State) -> Vec<(String, State)> {
        let mut all = Vec::new();
        for (me, (&at, &mode)) in state.replicas.iter().zip(modes).enumerate() {
            let mut step = |name: &str, change: &dyn Fn(&mut State)| {
                let mut next = state.clone();
                change(&mut next);
                if next != *state {
                    all.push((format!("{me} {name}"), next));
                }
            };
            let to = |next: At| move |state: &mut State| state.replicas[me] = next;
            let mine = |token: u8| state.row.is_some_and(|row| row.token == token);
            let fenced = |token: u8| self.fence && !mine(token);
            let claim = |seen: u8, state: &mut State| {
                let lock = match state.lock {
                    None => Taken::Nobody,
                    Some(other) if other == me => Taken::Me,
                    Some(_) => Taken::Another,
                };
                if !self.may_claim(state.row, mode, lock) {
                    // Busy: a session gives its lock back, and whoever was overtaken joins.
                    if mode == Session && state.lock == Some(me) {
                        state.lock = None;
                    }
                    state.replicas[me] = if state.complete > seen { At::Joined } else { At::Looked { seen } };
                    return;
                }
                let token = state.row.map_or(1, |row| row.token + 1);
                let joins = self.reads_again && state.complete > seen;
                state.row = Some(Row { token, mode, released: joins, expired: false });
                state.replicas[me] = if joins { At::Joined } else { At::Runs { seen, token, applies: state.applied == 0 } };
            };
            match at {
                At::Start => step("looks", &to(At::Looked { seen: state.complete })),
                At::Looked { seen } if mode == Session => step("tries", &|state| match state.lock {
                    None => (state.lock, state.replicas[me]) = (Some(me), At::Locked { seen }),
                    Some(_) if state.complete > seen => state.replicas[me] = At::Joined,
                    Some(_) => {}
                }),
                At::Looked { seen } | At::Locked { seen } => step("claims", &|state| claim(seen, state)),
                At::Runs { token, applies, .. } => step("commits", &|state| {
                    if fenced(token) {
                        // It stops, and starts anew.
                        state.replicas[me] = At::Start;
                        if state.lock == Some(me) {
                            state.lock = None;
                        }
                    } else {
                        state.applied += u8::from(applies);
                        state.replicas[me] = At::Closes { token };
                    }
                }),
                At::Closes { token } => step("closes", &|state| {
                    if fenced(token) {
                        state.replicas[me] = At::Start;
                    } else {
                        state.complete += 1;
                        state.replicas[me] = At::Done;
                        if let Some(row) = state.row.as_mut().filter(|row| row.token == token) {
                            row.released = true;
                        }
                    }
                    if state.lock == Some(me) {
                        state.lock = None;
                    }
                }),
                // The server notices that the connection is gone, some time later.
                At::Done | At::Joined | At::Dead if state.lock == Some(me) => {
                    step("is noticed to be gone", &|state| state.lock = None)
                }
                At::Done | At::Joined | At::Dead => {}
            }
            if let At::Runs { token, .. } | At::Closes { token } = at
                && mode == Lease
                && mine(token)
            {
                step("renews", &|state| {
                    if let Some(row) = state.row.as_mut().filter(|row| !row.released) {
                        row.expired = false;
                    }
                });
            }
            if state.faults > 0 {
                if !matches!(at, At::Done | At::Joined | At::Dead) {
                    step("is killed", &|state| (state.faults, state.replicas[me]) = (state.faults - 1, At::Dead));
                }
                if state.lock == Some(me) {
                    step("loses its lock's connection", &|state| (state.faults, state.lock) = (state.faults - 1, None));
                }
            }
        }
        // The lease of a dead one runs out by itself; that of a living one only if it is too slow.
        if let Some(row) = state.row.filter(|row| row.mode == Lease && !row.released && !row.expired) {
            let holder = state
                .replicas
                .iter()
                .any(|at| matches!(at, At::Runs { token, .. } | At::Closes { token } if *token == row.token));
            let cost = u8::from(holder);
            if state.faults >= cost {
                let mut next = state.clone();
                next.faults -= cost;
                next.row = Some(Row { expired: true, ..row });
                all.push(("the lease runs out".to_owned(), next));
            }
        }
        all
    }

    /// What is wrong with a state, or with what became of the one before.
    fn wrong(before: &State, after: &State) -> Option<String> {
        if after.applied > 1 {
            return Some("the migration was committed twice".to_owned());
        }
        // Whose lock was good must not be overtaken: it does not look before each step.
        let token = |state: &State| state.row.map(|row| row.token);
        let overtaken = before.replicas.iter().enumerate().any(|(me, at)| match (at, before.row) {
            (At::Runs { token, .. } | At::Closes { token }, Some(row)) if *token == row.token => match row.mode {
                Session => before.lock == Some(me),
                Lease => !row.expired,
            },
            _ => false,
        });
        if overtaken && token(before) != token(after) {
            return Some("two runners hold the lock".to_owned());
        }
        for (was, is) in before.replicas.iter().zip(&after.replicas) {
            match (was, is) {
                (At::Looked { seen } | At::Locked { seen }, At::Runs { .. }) if before.complete > *seen => {
                    return Some("a replica runs what was completed while it waited".to_owned());
                }
                (At::Looked { seen } | At::Locked { seen }, At::Joined) if before.complete <= *seen => {
                    return Some("a replica joined a boot that was not completed".to_owned());
                }
                _ => {}
            }
        }
        None
    }

    /// Searches all states. The number of states, or the way to one that is wrong.
    fn search(self, modes: &[Mode], faults: u8) -> Result<usize, Vec<String>> {
        let start = State { replicas: vec![At::Start; modes.len()], lock: None, row: None, applied: 0, complete: 0, faults };
        let mut from: HashMap<State, Option<(State, String)>> = HashMap::from([(start.clone(), None)]);
        let mut before: HashMap<State, Vec<State>> = HashMap::new();
        let mut ends = Vec::new();
        let mut queue = VecDeque::from([start]);
        let way = |from: &HashMap<State, Option<(State, String)>>, to: &State, what: String| {
            let mut steps = vec![what];
            let mut at = to.clone();
            while let Some(Some((earlier, step))) = from.get(&at) {
                steps.push(step.clone());
                at = earlier.clone();
            }
            steps.reverse();
            steps
        };
        while let Some(state) = queue.pop_front() {
            for (step, next) in self.next(modes, &state) {
                if let Some(what) = Self::wrong(&state, &next) {
                    return Err(way(&from, &state, format!("{step}: {what}")));
                }
                before.entry(next.clone()).or_default().push(state.clone());
                if !from.contains_key(&next) {
                    from.insert(next.clone(), Some((state.clone(), step)));
                    queue.push_back(next);
                }
            }
            if state.replicas.iter().all(|at| matches!(at, At::Done | At::Joined | At::Dead)) {
                ends.push(state);
            }
        }
        // From everywhere there is a way to an end, so nobody waits for ever.
        let mut can_end: HashSet<State> = ends.iter().cloned().collect();
        let mut queue: VecDeque<State> = ends.into();
        while let Some(state) = queue.pop_front() {
            for earlier in before.get(&state).into_iter().flatten() {
                if can_end.insert(earlier.clone()) {
                    queue.push_back(earlier.clone());
                }
            }
        }
        match from.keys().find(|state| !can_end.contains(state)) {
            Some(stuck) => Err(way(&from, stuck, "nobody can go on from here".to_owned())),
            None => Ok(from.len()),
        }
    }
}

#[test]
fn never_two_runners_never_a_lost_join_never_stuck_whatever_is_killed_or_lost() {
    for (modes, faults) in [
        (vec![Session, Session, Session], 2),
        (vec![Lease, Lease, Lease], 2),
        (vec![Session, Session, Lease], 2),
        (vec![Session, Lease, Lease], 2),
        (vec![Session, Lease], 4),
        (vec![Session, Session, Lease, Lease], 3),
    ] {
        let found = WHOLE.search(&modes, faults);
        let states = found.unwrap_or_else(|way| panic!("{modes:?} with {faults} faults:\n  {}", way.join("\n  ")));
        assert!(states > 1_000, "{modes:?} with {faults} faults: only {states} states");
    }
}

#[test]
fn without_any_one_of_its_parts_the_protocol_is_found_to_be_wrong() {
    let mixed = [Session, Lease];
    for (protocol, modes, what) in [
        (Protocol { fence: false, ..WHOLE }, vec![Session, Session], "the migration was committed twice"),
        (Protocol { reads_again: false, ..WHOLE }, vec![Session, Session], "a replica runs what was completed while it waited"),
        (Protocol { only_who_has_the_lock: false, ..WHOLE }, vec![Session, Session], "two runners hold the lock"),
        (Protocol { leases_respect_sessions: false, ..WHOLE }, mixed.to_vec(), "two runners hold the lock"),
        (Protocol { sessions_respect_leases: false, ..WHOLE }, mixed.to_vec(), "two runners hold the lock"),
    ] {
        let way = protocol.search(&modes, 2).expect_err(&format!("{protocol:?} is to be wrong"));
        assert!(way.last().unwrap().contains(what), "{protocol:?}:\n  {}", way.join("\n  "));
    }
}

/// The condition of the model is that of the SQL, for every row, claimant and lock there can be.
#[cfg(feature = "embedded")]
#[tokio::test]
async fn the_claim_on_a_real_server_is_the_claim_of_the_model() {
    use crate::{
        database::{Database, ResultSets},
        ledger::{Claim, Ledger},
        lock::LockKey,
    };
    let server = crate::embedded::Server::builder().in_memory(true).durable(false).start().expect("a server starts");
    let database = Database::from_url(&server.url("postgres")).expect("its address");
    let ledger = Ledger { schema: "plinth".into(), application: "api".into() };
    let key = LockKey::new("plinth", "api");
    let connect = async || database.connect("test").await.expect("it lets us in");
    let (work, me, another) = (connect().await, connect().await, connect().await);
    work.send(&ledger.create()).await.expect("the ledger is made");
    let process = me.process().await.expect("a process");
    assert_eq!(me.send("select pg_backend_pid()").await.expect("it answers").value(), Some(process.to_string().as_str()));
    let mut rows = vec![None];
    for mode in [Session, Lease] {
        for (released, expired) in [(false, false), (false, true), (true, false), (true, true)] {
            rows.push(Some(Row { token: 7, mode, released, expired }));
        }
    }
    for (row, claimant, lock) in rows.iter().flat_map(|row| {
        let lock = [Taken::Nobody, Taken::Me, Taken::Another].map(|lock| [(*row, Session, lock), (*row, Lease, lock)]);
        lock.into_iter().flatten()
    }) {
        // Nobody claims a lease with the session lock in hand, and a first row is nobody's.
        if claimant == Lease && lock == Taken::Me {
            continue;
        }
        let take = format!("select pg_try_advisory_lock({})", key.number());
        for (connection, takes) in [(&me, Taken::Me), (&another, Taken::Another)] {
            let ask = if lock == takes { take.as_str() } else { "select pg_advisory_unlock_all()" };
            connection.send(ask).await.expect("it answers");
        }
        let insert = row.map_or_else(String::new, |row| {
            format!(
                "insert into plinth.runners (application, token, mode, instance, since, expires, released)
                 values ('api', 7, '{}', 'other', now(), now() + interval '{} hours', {})",
                row.mode.as_str(),
                if row.expired { -1 } else { 1 },
                if row.released { "now()" } else { "null" }
            )
        });
        work.send(&format!("delete from plinth.runners; {insert}")).await.expect("the row is written");
        let by = if claimant == Session { Claim::Session { locking: process } } else { Claim::Lease };
        // Whoever has the session lock is the session that claims; whoever lost it with its connection claims on another one.
        let from = if lock == Taken::Me { &me } else { &work };
        let sets: ResultSets = from.send(&ledger.claim(key, by, "us")).await.expect("it answers");
        let case = format!("{row:?}, {claimant:?}, the lock has {lock:?}");
        assert_eq!(sets.value().is_some(), who_may_claim(row, claimant, lock), "{case}");
        if let Some(token) = sets.value() {
            assert_eq!(token, if row.is_some() { "8" } else { "1" }, "{case}");
        }
    }
    server.stop().expect("it stops");
}
