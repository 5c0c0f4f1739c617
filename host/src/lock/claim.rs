//! Whose turn it is: the tries of one replica.

use super::{Doing, Held, LockKey, LockMode, Mode, shown_while};
use crate::{
    database::{ConnectError, Connection, ResultSets, literal, simple::text},
    error::BootError,
    host::Host,
    ledger::{Claim, Ledger, LedgerError, Token, holder},
};
use std::{sync::Arc, time::Duration};

/// How long the process of a predecessor that was told to end is waited for.
const EVICTED: Duration = Duration::from_secs(5);

/// A replica that wants to run.
pub(crate) struct Claimant<'a> {
    host: &'a Host,
    key: LockKey,
    connection: Arc<Connection>,
    /// How the lock is held; known after the first try.
    mode: Option<Mode>,
    /// Whether the ledger is there, in the format of this host.
    ledger_stands: bool,
    /// How often somebody else had the lock.
    busy: u32,
    /// Who that was, as far as it was seen.
    holder: Option<String>,
}

/// After how many tries it is looked again who has the lock.
const LOOK: u32 = 8;

/// Who holds the lock if nobody does, and the claim came to another session than the lock.
const NOT_THE_SAME: &str =
    "nobody, but each statement meets another session: behind a transaction pooler the lock must be a lease (--lock auto)";

/// What a step to the lock came to.
pub(crate) enum Attempt<T> {
    /// It is ours.
    Ours(T),
    /// Somebody else has it.
    Busy {
        /// Who and since when, if it could be seen.
        holder: Option<String>,
    },
}

/// What lets a replica claim: it has the session lock, or needs none.
pub(crate) struct Locked(Claim);

impl Locked {
    /// How the lock will be held.
    pub(crate) fn mode(&self) -> Mode {
        self.0.mode()
    }
}

/// A claim that was granted.
pub(crate) struct Claimed {
    pub(crate) held: Held,
    /// What was read in its round trip.
    pub(crate) read: ResultSets,
}

impl<'a> Claimant<'a> {
    /// One whose lock will live on a connection that nothing else is done on from then on. `ledger_stands` says whether the ledger is there, in
    /// the format of this host; otherwise the first try that can will make it.
    pub(crate) fn new(host: &'a Host, connection: Arc<Connection>, ledger_stands: bool) -> Claimant<'a> {
        let key = LockKey::new(&host.ledger.schema, &host.ledger.application);
        Claimant { host, key, connection, mode: None, ledger_stands, busy: 0, holder: None }
    }

    /// How the lock is held, if a try has told, and whether that was found out.
    pub(crate) fn found_pooler(&self) -> bool {
        self.host.lock_mode == LockMode::Auto && self.mode == Some(Mode::Lease)
    }

    /// Tries once, and claims if the try says so. `read` is read under the lock, in the claim's round trip.
    pub(crate) async fn attempt(&mut self, read: &str) -> Result<Attempt<Claimed>, BootError> {
        match self.lock().await? {
            Attempt::Ours(locked) => self.claim(locked, read).await,
            Attempt::Busy { holder } => Ok(Attempt::Busy { holder }),
        }
    }

    /// Tries to take the lock.
    pub(crate) async fn lock(&mut self) -> Result<Attempt<Locked>, BootError> {
        let ledger = &self.host.ledger;
        let process = self.connection.process().await;
        let name = if self.busy > 0 && self.mode == Some(Mode::Session) {
            format!("set application_name = {}; ", literal(&shown_while(ledger, Doing::Waits, &self.host.instance)))
        } else {
            String::new()
        };
        let insists = self.host.lock_mode == LockMode::Session;
        let process = process.filter(|_| self.host.lock_mode != LockMode::Lease);
        // A session that does nothing for long must not be ended for it: it holds the lock.
        let asked = format!("{name}{}", self.key.try_statement(process, insists));
        let sets = self.connection.ask(&asked).await.map_err(|source| unreadable(ledger, source))?;
        let row = sets.last().first();
        let said = |place| row.and_then(|row| text(row, place));
        let yes = |place| said(place) == Some("t");
        if yes(2) || said(3) == Some("on") {
            return Err(ConnectError::ReadOnly { host: self.connection.server(), recovery: yes(2) }.into());
        }
        let mode = match self.host.lock_mode {
            LockMode::Session => Mode::Session,
            LockMode::Lease => Mode::Lease,
            LockMode::Auto if yes(0) => Mode::Session,
            LockMode::Auto => Mode::Lease,
        };
        self.mode = Some(mode);
        Ok(match mode {
            Mode::Lease => Attempt::Ours(Locked(Claim::Lease)),
            Mode::Session if yes(1) => {
                let locking = said(4).and_then(|process| process.parse().ok()).unwrap_or_default();
                Attempt::Ours(Locked(Claim::Session { locking }))
            }
            Mode::Session => {
                if self.busy.is_multiple_of(LOOK) {
                    let holder =
                        self.connection.ask(&self.key.holder_query()).await.map_err(|source| unreadable(ledger, source))?;
                    self.holder = holder.value().map(str::to_owned);
                }
                self.busy += 1;
                Attempt::Busy { holder: self.holder.clone() }
            }
        })
    }

    /// Claims the runner's row. `read` is read in the same round trip.
    pub(crate) async fn claim(&mut self, Locked(by): Locked, read: &str) -> Result<Attempt<Claimed>, BootError> {
        let (ledger, connection) = (&self.host.ledger, &self.connection);
        if !self.ledger_stands {
            connection.send(&ledger.create()).await.map_err(|source| unwritten(ledger, source))?;
            self.ledger_stands = true;
        }
        let claim = format!("{}; {read}", ledger.claim(self.key, by, &self.host.instance));
        let sets = connection.ask(&claim).await.map_err(|source| unwritten(ledger, source))?;
        let others = sets.count().saturating_sub(2);
        let (before, token) = (sets.set_from_end(others + 1), sets.set_from_end(others));
        let before = before.first().and_then(holder);
        let Some(number) = token.first().and_then(|row| text(row, 0)).and_then(|token| token.parse().ok()) else {
            let mut holder = before;
            if let Claim::Session { .. } = by {
                holder = holder.or(Some(NOT_THE_SAME.to_owned()));
                // A lease is held by somebody behind a pooler: who waits for it must not hold up those that hold no lock.
                let unlock = self.key.unlock_statement();
                connection.ask(&unlock).await.map_err(|source| unreadable(ledger, source))?;
            }
            self.busy += 1;
            return Ok(Attempt::Busy { holder });
        };
        let token = Token { ledger: ledger.clone(), number };
        let held = Held::new(self.host, by.mode(), token, connection.clone());
        if let Some(before) = before {
            evict(ledger, connection, &before).await.map_err(|source| unwritten(ledger, source))?;
        }
        Ok(Attempt::Ours(Claimed { held, read: sets }))
    }
}

/// Ends what a predecessor left running. Its host is gone or has lost the lock.
async fn evict(ledger: &Ledger, connection: &Connection, runner: &str) -> Result<(), tokio_postgres::Error> {
    let ask = ledger.evict();
    let until = std::time::Instant::now() + EVICTED;
    loop {
        match connection.ask(&ask).await {
            Ok(sets) if sets.value() != Some("t") => return Ok(()),
            Ok(_) if std::time::Instant::now() > until => {
                tracing::warn!(runner, "the server process of an earlier runner does not end; its transactions are fenced off");
                return Ok(());
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) if error.as_db_error().is_some() && !connection.client().is_closed() => {
                let reason = crate::database_reason(&error);
                tracing::warn!(runner, reason, "the server process of an earlier runner cannot be ended");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn unreadable(ledger: &Ledger, source: tokio_postgres::Error) -> LedgerError {
    LedgerError::Database { schema: ledger.schema.clone(), doing: "read", source }
}

fn unwritten(ledger: &Ledger, source: tokio_postgres::Error) -> LedgerError {
    LedgerError::Database { schema: ledger.schema.clone(), doing: "written", source }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::database::Database;

    #[tokio::test]
    async fn who_is_refused_hears_who_has_the_lock_or_that_its_statements_meet_other_sessions() {
        let server = crate::embedded::Server::builder().in_memory(true).durable(false).start().expect("a server starts");
        let database = Database::from_url(&server.url("postgres")).expect("its address");
        let connection = Arc::new(database.connect("test").await.expect("it lets us in"));
        let host = Host::new(database);
        connection.send(&host.ledger.create()).await.expect("the ledger is made");
        for (released, said) in [("null", "other (lease, since 12:34:56)"), ("now()", NOT_THE_SAME)] {
            let row = format!(
                "delete from plinth.runners; insert into plinth.runners (application, token, mode, instance, since, expires, released)
                 values ({}, 7, 'lease', 'other', '2026-01-02 12:34:56', now() + interval '1 hour', {released})",
                host.ledger.application()
            );
            connection.send(&row).await.expect("the row is written");
            let mut claimant = Claimant::new(&host, connection.clone(), true);
            // No session has this number.
            let claimed = claimant.claim(Locked(Claim::Session { locking: 0 }), "select 1").await.expect("it answers");
            let Attempt::Busy { holder } = claimed else { panic!("it was granted: {said}") };
            assert_eq!(holder.as_deref(), Some(said));
        }
    }
}
