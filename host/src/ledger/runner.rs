//! The runner's row: whose turn it is, and the token that fences off whoever had it before.

use super::Ledger;
use crate::{
    database::{literal, simple::text},
    lock::{Doing, LEASE, LockKey, Mode, shown_while},
};
use tokio_postgres::SimpleQueryRow;

/// How the row is claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    /// Under the session lock, on the connection that has it.
    Session {
        /// The server process that took it.
        locking: i32,
    },
    /// For as long as it is renewed.
    Lease,
}

impl Claim {
    /// How whoever claims so holds the lock.
    pub(crate) fn mode(self) -> Mode {
        match self {
            Claim::Session { .. } => Mode::Session,
            Claim::Lease => Mode::Lease,
        }
    }
}

/// The token of a runner: what it writes is written only as long as it is the newest.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) ledger: Ledger,
    pub(crate) number: i64,
}

impl Ledger {
    /// Claims the runner's row. Two statements: who has it, if somebody has, for [`holder`], and the new token, or no row if somebody else
    /// keeps it.
    ///
    /// Who holds the session lock takes over from any other session, since that one has lost it. A session has it as long as it lives, so that
    /// this is said by being the session that took it. Whoever comes by lease takes over from a session only if
    /// nobody holds the session lock. A lease that ran out is anybody's, for sessions that hold the lock.
    pub(crate) fn claim(&self, key: LockKey, by: Claim, instance: &str) -> String {
        let (schema, application, instance) = (self.quoted(), self.application(), literal(instance));
        let lease = LEASE.as_secs();
        let free = match by {
            Claim::Session { locking } => format!(
                "(r.released is not null or r.mode = 'session' or r.expires < clock_timestamp()) and pg_backend_pid() = {locking}"
            ),
            Claim::Lease => format!(
                "r.released is not null or (r.mode = 'session' and not {}) or (r.mode = 'lease' and r.expires < clock_timestamp())",
                key.is_taken()
            ),
        };
        let mode = literal(by.mode().as_str());
        format!(
            "select instance, mode, since from {schema}.runners where application = {application} and released is null;
             insert into {schema}.runners as r (application, token, mode, instance, since, expires)
             values ({application}, 1, {mode}, {instance}, clock_timestamp(), clock_timestamp() + interval '{lease} seconds')
             on conflict (application) do update set token = r.token + 1, mode = excluded.mode, instance = excluded.instance,
                since = excluded.since, expires = excluded.expires, released = null
             where {free}
             returning token"
        )
    }

    /// Ends the server processes that run blocks of a predecessor, found by the names that they show, and tells whether any is
    /// still there. For whoever holds the lock: then nobody else runs blocks of this application and ledger.
    ///
    /// What a predecessor did in a transaction is fenced off by the token, but its locks would be waited for; and a CREATE
    /// INDEX CONCURRENTLY is not fenced off.
    pub(crate) fn evict(&self) -> String {
        let predecessors = format!(
            "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and starts_with(application_name, {})",
            literal(&shown_while(self, Doing::Runs, ""))
        );
        format!("select pg_terminate_backend(pid) {predecessors}; select exists (select {predecessors})")
    }
}

/// Who holds a row and since when, as people read it.
pub(crate) fn holder(row: &SimpleQueryRow) -> Option<String> {
    let since = text(row, 2)?;
    // The time of the day, however the server writes the rest: asking it for another form is three more functions that a new session
    // looks up.
    let clock = since.split([' ', 'T']).find(|part| part.as_bytes().get(2) == Some(&b':')).unwrap_or(since);
    let clock = clock.get(..8).unwrap_or(clock);
    Some(format!("{} ({}, since {clock})", text(row, 0)?, text(row, 1)?))
}

/// The SQLSTATE of a statement that was fenced off.
pub(crate) const FENCED: &str = "2201G";

/// A statement that fails if a query finds no row: nothing can be divided into no buckets. Plain SQL, since a function would
/// have to be planned anew in each session; and with an SQLSTATE that no trigger raises by chance.
fn fails_unless(query: &str) -> String {
    format!("select pg_catalog.width_bucket(1, 0, 2, count(*)::integer) from ({query}) as fence")
}

impl Ledger {
    fn runner(&self, token: &str) -> String {
        format!("select from {}.runners where application = {} and token = {token}", self.quoted(), self.application())
    }

    /// Fails with [`FENCED`] if the runner with a token, given as an expression, is not the newest any more. Before COMMIT: who takes over waits
    /// until the transaction has ended.
    pub(crate) fn fence(&self, token: &str) -> String {
        fails_unless(&format!("{} for share", self.runner(token)))
    }

    /// The same for a look that holds up nobody.
    pub(crate) fn still(&self, token: &str) -> String {
        fails_unless(&self.runner(token))
    }
}

impl Token {
    /// Fails with [`FENCED`] if another runner took over, as [`Ledger::fence`].
    pub(crate) fn fence(&self) -> String {
        self.ledger.fence(&self.number.to_string())
    }

    /// The same for a look that holds up nobody.
    pub(crate) fn still(&self) -> String {
        self.ledger.still(&self.number.to_string())
    }

    /// A transaction of the host's own that writes something, unless another runner took over.
    pub(crate) fn guarded(&self, statements: &str) -> String {
        format!("begin; {}; {statements}; commit", self.fence())
    }

    /// The same for what a crash of the server may take back: nobody was told of it, or nothing was done.
    pub(crate) fn guarded_without_waiting(&self, statements: &str) -> String {
        format!("begin; set local synchronous_commit = off; {}; {statements}; commit", self.fence())
    }

    /// Renews a lease. No row: another runner took over.
    pub(crate) fn renew(&self) -> String {
        format!(
            "update {}.runners set expires = clock_timestamp() + interval '{} seconds'
             where application = {} and token = {} and released is null returning token",
            self.ledger.quoted(),
            LEASE.as_secs(),
            self.ledger.application(),
            self.number
        )
    }

    /// Gives the row back.
    pub(crate) fn release(&self) -> String {
        format!(
            "update {}.runners set released = clock_timestamp() where application = {} and token = {} and released is null",
            self.ledger.quoted(),
            self.ledger.application(),
            self.number
        )
    }
}
