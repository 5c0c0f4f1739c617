//! One runner at a time: a session lock on a connection of its own.
//!
//! The lock is polled, never waited for: a session that waits in `pg_advisory_lock` holds a snapshot, and a CREATE INDEX
//! CONCURRENTLY of the runner then deadlocks with it. It lives on its own connection, because a block could release it on
//! the block's, and is released by closing that.

use super::{Connection, ResultSets, simple::text};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What two runners must have in common to exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockKey(i64);

impl LockKey {
    /// The database is part of an advisory lock by itself; ledger schema and application are part of the key.
    pub(crate) fn new(ledger_schema: &str, application: &str) -> LockKey {
        let digest = Sha256::new()
            .chain_update("plinth\0")
            .chain_update(ledger_schema)
            .chain_update("\0")
            .chain_update(application)
            .finalize();
        let mut first = [0; 8];
        first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        LockKey(i64::from_be_bytes(first))
    }

    /// The statement that tries. Its row: whether we have it, and who has it if not.
    pub(crate) fn try_statement(self) -> String {
        let key = self.0;
        // An advisory lock with one 64-bit key is shown in two halves, with objsubid 1.
        format!(
            "select pg_try_advisory_lock({key}),
                (select format('%s (process %s, since %s)', coalesce(nullif(a.application_name, ''), a.usename), a.pid,
                               to_char(a.backend_start, 'HH24:MI:SS'))
                 from pg_locks l join pg_stat_activity a using (pid)
                 where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.pid <> pg_backend_pid()
                   and l.database = (select oid from pg_database where datname = current_database())
                   and l.classid = (({key}::bigint >> 32) & 4294967295)::oid and l.objid = ({key}::bigint & 4294967295)::oid
                 limit 1)"
        )
    }
}

/// The lock, held as long as this lives.
pub(crate) struct Held {
    connection: Connection,
}

/// One try.
pub(crate) enum Tried {
    /// We are the runner.
    Held(Held),
    /// Somebody else is.
    Busy {
        /// The connection, to try again.
        connection: Connection,
        /// Who holds it and since when, if it could be seen.
        holder: Option<String>,
    },
}

impl Held {
    /// Reads what a try brought. Consumes the connection, so that nothing else is done on it.
    pub(crate) fn from_try(connection: Connection, sets: &ResultSets, place: usize) -> Tried {
        let row = sets.set_from_end(place).first();
        if row.and_then(|row| text(row, 0)) == Some("t") {
            return Tried::Held(Held { connection });
        }
        let holder = row.and_then(|row| text(row, 1)).map(str::to_owned);
        Tried::Busy { connection, holder }
    }

    /// Whether the connection that holds the lock is still there. Without it, somebody else may be the runner.
    pub(crate) fn is_held(&self) -> bool {
        !self.connection.client().is_closed()
    }

    /// For what is to be read while it is held.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn round_trips(&self) -> u64 {
        self.connection.trips().get()
    }
}

/// How long to wait before the next try: longer each time, never in step with the others.
pub(crate) fn pause(attempt: u32) -> Duration {
    let most = 25_u64.saturating_mul(1 << attempt.min(3));
    Duration::from_millis(fastrand::u64(most / 2..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_and_ledgers_do_not_block_each_other() {
        let key = LockKey::new("plinth", "api");
        assert_eq!(key, LockKey::new("plinth", "api"));
        assert_ne!(key, LockKey::new("plinth", "worker"));
        assert_ne!(key, LockKey::new("ledger", "api"));
        assert_ne!(LockKey::new("a", "bc"), LockKey::new("ab", "c"));
    }
}
