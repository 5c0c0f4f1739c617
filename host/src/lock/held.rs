//! The lock, held: looked after as long as the runner runs, and told when it is lost.

use super::{LEASE, Mode};
use crate::{
    database::{Connection, RoundTrips},
    host::Host,
    ledger::Token,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};

/// How often the server is asked whether the lock is still ours.
const BEAT: Duration = Duration::from_secs(5);
/// How long its answer is waited for. A server that is silent for longer may have given the lock to somebody else.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether the connection was closed, which asks nobody.
const GLANCE: Duration = Duration::from_millis(50);
/// A lease counts as lost a little before others may take it.
const MARGIN: Duration = Duration::from_secs(2);

/// The lock, held as long as this lives.
pub(crate) struct Held {
    mode: Mode,
    token: Token,
    /// In session mode the lock's own connection.
    connection: Arc<Connection>,
    trips: RoundTrips,
    lost: watch::Receiver<Option<String>>,
    /// Until when a lease holds, by our own clock.
    until: Arc<Mutex<Instant>>,
    beat: JoinHandle<()>,
}

impl Held {
    pub(super) fn new(host: &Host, mode: Mode, token: Token, connection: Arc<Connection>) -> Held {
        let (tell, lost) = watch::channel(None);
        let until = Arc::new(Mutex::new(Instant::now() + LEASE.saturating_sub(MARGIN)));
        let beat = Beat { host: host.clone(), mode, token: token.clone(), until: until.clone() };
        let trips = connection.trips().clone();
        let beat = tokio::spawn(beat.run(connection.clone(), tell));
        Held { mode, token, connection, trips, lost, until, beat }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Whether the lock is still ours, as far as can be known without asking. Without it, somebody else may be the runner.
    pub(crate) fn is_held(&self) -> bool {
        self.lost.borrow().is_none()
            && match self.mode {
                Mode::Session => !self.connection.client().is_closed(),
                Mode::Lease => Instant::now() < *self.until.lock().unwrap_or_else(PoisonError::into_inner),
            }
    }

    /// Waits until the lock is lost, and tells why.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| "nobody looks after the lock any more".to_owned())
    }

    pub(crate) fn round_trips(&self) -> u64 {
        self.trips.get()
    }

    /// Gives the lock back. A boot that was closed in the ledger has given the row back already.
    pub(crate) async fn release(self) {
        self.beat.abort();
        if !self.connection.client().is_closed() {
            let release = self.token.release();
            if let Ok(Err(error)) = tokio::time::timeout(GLANCE * 10, self.connection.send(&release)).await {
                tracing::debug!(error = %crate::database_reason(&error), "the runner's row was not given back");
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

/// What looks after it.
struct Beat {
    host: Host,
    mode: Mode,
    token: Token,
    until: Arc<Mutex<Instant>>,
}

impl Beat {
    async fn run(self, mut connection: Arc<Connection>, tell: watch::Sender<Option<String>>) {
        loop {
            let next = Instant::now() + BEAT;
            while Instant::now() < next && !connection.client().is_closed() {
                tokio::time::sleep(GLANCE).await;
            }
            let asked = Instant::now();
            let why = match self.ask(&connection).await {
                Ok(true) => {
                    *self.until.lock().unwrap_or_else(PoisonError::into_inner) = asked + LEASE.saturating_sub(MARGIN);
                    continue;
                }
                Ok(false) => "another replica took over".to_owned(),
                Err(why) if self.mode == Mode::Session => why,
                // A lease outlives its connection, as long as it can be renewed on another one in time.
                Err(why) => match self.reconnected().await {
                    Some(again) => {
                        connection = again;
                        continue;
                    }
                    None => why,
                },
            };
            // Whatever is still to be answered on it: who waits for this lock must not wait for that.
            connection.give_up();
            tell.send_replace(Some(why));
            return;
        }
    }

    /// Whether the lock is still ours.
    async fn ask(&self, connection: &Connection) -> Result<bool, String> {
        let question = match self.mode {
            Mode::Session => "select 1".to_owned(),
            Mode::Lease => self.token.renew(),
        };
        if connection.client().is_closed() {
            return Err("the connection that holds the lock was closed".to_owned());
        }
        match tokio::time::timeout(PATIENCE, connection.send(&question)).await {
            Ok(Ok(sets)) => Ok(sets.value().is_some()),
            Ok(Err(error)) => Err(format!("the connection that holds the lock was lost: {}", crate::database_reason(&error))),
            Err(_) => {
                Err(format!("the server does not answer on the connection that holds the lock for {} s", PATIENCE.as_secs()))
            }
        }
    }

    /// A new connection to renew the lease on, if the server can be reached before it runs out.
    async fn reconnected(&self) -> Option<Arc<Connection>> {
        loop {
            let left = self.until.lock().unwrap_or_else(PoisonError::into_inner).checked_duration_since(Instant::now())?;
            match tokio::time::timeout(left, self.host.database.connect(&self.host.connection_name())).await {
                Ok(Ok(connection)) => {
                    let asked = Instant::now();
                    if self.ask(&connection).await.ok()? {
                        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = asked + LEASE.saturating_sub(MARGIN);
                        return Some(Arc::new(connection));
                    }
                    return None;
                }
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }
}
