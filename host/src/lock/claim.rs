//! Whose turn it is: the tries of one replica.

use super::{Doing, Held, LockKey, LockMode, Mode, shown_while};
use crate::{
    database::{ConnectError, Connection, ResultSets, literal, simple::text},
    error::BootError,
    host::Host,
    ledger::{Claim, Ledger, LedgerError, Token},
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

/// One try.
pub(crate) enum Attempt {
    /// We are the runner. With what was read in the same round trip as the claim.
    Held(Box<Held>, ResultSets),
    /// Somebody else is.
    Busy {
        /// Who and since when, if it could be seen.
        holder: Option<String>,
    },
}

impl<'a> Claimant<'a> {
    /// Opens the connection that the lock will live on.
    pub(crate) async fn new(host: &'a Host) -> Result<Claimant<'a>, ConnectError> {
        let key = LockKey::new(&host.ledger.schema, &host.ledger.application);
        let connection = Arc::new(host.database.connect(&host.connection_name()).await?);
        Ok(Claimant { host, key, connection, mode: None, ledger_stands: false, busy: 0, holder: None })
    }

    /// Whether the ledger is there, in the format of this host. Otherwise the first try that can will make it.
    pub(crate) fn knows_ledger(&mut self, stands: bool) {
        self.ledger_stands = stands;
    }

    pub(crate) fn round_trips(&self) -> u64 {
        self.connection.trips().get()
    }

    /// How the lock is held, if a try has told, and whether that was found out.
    pub(crate) fn found_pooler(&self) -> bool {
        self.host.lock_mode == LockMode::Auto && self.mode == Some(Mode::Lease)
    }

    /// Tries once. `work` is the connection that blocks will run on; `read` is read under the lock, in the claim's round trip. `ready` is
    /// waited for before anything is written.
    pub(crate) async fn attempt(
        &mut self,
        work: &Connection,
        read: &str,
        ready: impl Future<Output = Result<(), BootError>>,
    ) -> Result<Attempt, BootError> {
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
        if mode == Mode::Session && !yes(1) {
            if self.busy.is_multiple_of(LOOK) {
                let holder = self.connection.ask(&self.key.holder_query()).await.map_err(|source| unreadable(ledger, source))?;
                self.holder = holder.value().map(str::to_owned);
            }
            self.busy += 1;
            return Ok(Attempt::Busy { holder: self.holder.clone() });
        }
        ready.await?;
        if !self.ledger_stands {
            work.send(&ledger.create()).await.map_err(|source| unwritten(ledger, source))?;
            self.ledger_stands = true;
        }
        let by = match mode {
            Mode::Session => Claim::Session { locking: said(4).and_then(|process| process.parse().ok()).unwrap_or_default() },
            Mode::Lease => Claim::Lease,
        };
        let claim = format!("{}; {read}", ledger.claim(self.key, by, &self.host.instance));
        let sets = work.ask(&claim).await.map_err(|source| unwritten(ledger, source))?;
        let read = sets.count().saturating_sub(2);
        let (before, token) = (sets.set_from_end(read + 1), sets.set_from_end(read));
        let before = before.first().and_then(|row| text(row, 0));
        let Some(number) = token.first().and_then(|row| text(row, 0)).and_then(|token| token.parse().ok()) else {
            if mode == Mode::Session {
                // A lease is held by somebody behind a pooler: who waits for it must not hold up those that hold no lock.
                let unlock = self.key.unlock_statement();
                self.connection.ask(&unlock).await.map_err(|source| unreadable(ledger, source))?;
            }
            self.busy += 1;
            return Ok(Attempt::Busy { holder: before.map(str::to_owned) });
        };
        let token = Token { ledger: ledger.clone(), number };
        let held = Held::new(self.host, mode, token, self.connection.clone());
        if let Some(before) = before {
            evict(ledger, work, before).await.map_err(|source| unwritten(ledger, source))?;
        }
        Ok(Attempt::Held(Box::new(held), sets))
    }
}

/// Ends what a predecessor left running. Its host is gone or has lost the lock.
async fn evict(ledger: &Ledger, work: &Connection, runner: &str) -> Result<(), tokio_postgres::Error> {
    let ask = ledger.evict();
    let until = std::time::Instant::now() + EVICTED;
    loop {
        match work.ask(&ask).await {
            Ok(sets) if sets.value() != Some("t") => return Ok(()),
            Ok(_) if std::time::Instant::now() > until => {
                tracing::warn!(runner, "the server process of an earlier runner does not end; its transactions are fenced off");
                return Ok(());
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) if error.as_db_error().is_some() && !work.client().is_closed() => {
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
