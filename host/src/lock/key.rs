//! The advisory lock: its key, and the statement that tries to take it.
//!
//! It is polled, never waited for: a session that waits in `pg_advisory_lock` holds a snapshot, and a CREATE INDEX
//! CONCURRENTLY of the runner then deadlocks with it. It lives on its own connection, because a block could release it on
//! the block's, and is released by closing that.

use crate::ledger::Ledger;
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

    /// The number, as `pg_try_advisory_lock` takes it.
    #[cfg(test)]
    pub(super) fn number(self) -> i64 {
        self.0
    }

    /// The statement that tries. Its row: whether the server process is the one that was connected to, whether we have the
    /// lock, whether the server is in recovery, whether it is read-only, and the server process.
    ///
    /// Unless `insists`, nothing is locked on another process than `process`: behind a pooler that would stay behind on a
    /// connection that somebody else gets next. No process is 0.
    pub(crate) fn try_statement(self, process: Option<i32>, insists: bool) -> String {
        let (key, process) = (self.0, process.unwrap_or(0));
        format!(
            "select pg_backend_pid() = {process},
                case when pg_is_in_recovery() then false when {insists} or pg_backend_pid() = {process} then pg_try_advisory_lock({key}) else false end,
                pg_is_in_recovery(), current_setting('transaction_read_only'), pg_backend_pid()"
        )
    }

    /// Who else has the lock and since when; no row if nobody has. In a new session it costs ten times what trying does.
    pub(crate) fn holder_query(self) -> String {
        format!(
            "select format('%s (process %s, since %s)', coalesce(nullif(a.application_name, ''), a.usename), a.pid, to_char(a.backend_start, 'HH24:MI:SS'))
             from {} l join pg_stat_activity a using (pid) where a.pid <> pg_backend_pid() limit 1",
            self.holders()
        )
    }

    /// Whether any session holds the lock, as an expression.
    pub(crate) fn is_taken(self) -> String {
        format!("exists (select from {} l)", self.holders())
    }

    /// The sessions that hold the lock. One with a 64-bit key is shown in two halves, with objsubid 1.
    fn holders(self) -> String {
        let key = self.0;
        format!(
            "(select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1
                and database = (select oid from pg_database where datname = current_database())
                and classid = (({key}::bigint >> 32) & 4294967295)::oid and objid = ({key}::bigint & 4294967295)::oid)"
        )
    }

    /// Gives the lock back on a connection that lives on.
    pub(crate) fn unlock_statement(self) -> String {
        format!("select pg_advisory_unlock({})", self.0)
    }
}

/// What a connection does, as the name that the server shows for it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs a block.
    Runs,
    /// It waits for its turn.
    Waits,
}

/// The name that the server shows for a connection: `plinth api runs 0066_…`, and the ledger before it unless it is the usual
/// one. The server keeps 63 bytes of it, so a long application is cut: all that has to be whole is what comes before `what`.
pub(crate) fn shown_while(ledger: &Ledger, doing: Doing, what: &str) -> String {
    let doing = match doing {
        Doing::Runs => "runs",
        Doing::Waits => "waits",
    };
    let of =
        if ledger.schema == "plinth" { ledger.application.clone() } else { format!("{}/{}", ledger.schema, ledger.application) };
    let of = if of.len() > LONGEST {
        let key = LockKey::new(&ledger.schema, &ledger.application).0.unsigned_abs() % 0x10000;
        let (cut, _) = of.split_at(of.floor_char_boundary(LONGEST));
        format!("{cut}~{key:04x}")
    } else {
        of
    };
    format!("plinth {of} {doing} {what}")
}

/// Bytes of an application that a connection's name shows.
const LONGEST: usize = 28;

/// How long to wait before the next try: longer each time, never in step with the others. Who has waited for seconds may wait
/// longer for the end, so that a long migration is asked for less often.
pub(crate) fn pause(attempt: u32) -> Duration {
    let most = 25_u64 << if attempt > SECONDS { 3 } else { attempt.min(2) };
    Duration::from_millis(fastrand::u64(most / 2..=most))
}

/// The tries of about two seconds.
const SECONDS: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_keeps_what_tells_a_connection_from_others() {
        let ledger = |schema: &str, application: &str| Ledger { schema: schema.into(), application: application.into() };
        assert_eq!(shown_while(&ledger("plinth", "api"), Doing::Runs, "0066"), "plinth api runs 0066");
        assert_eq!(shown_while(&ledger("other", "api"), Doing::Waits, "vm/1"), "plinth other/api waits vm/1");
        let long = |last: &str| shown_while(&ledger("plinth", &format!("{}{last}", "ä".repeat(40))), Doing::Runs, "");
        assert!(long("a").len() < 50 && long("a") != long("b"), "{}", long("a"));
    }

    #[test]
    fn applications_and_ledgers_do_not_block_each_other() {
        let key = LockKey::new("plinth", "api");
        assert_eq!(key, LockKey::new("plinth", "api"));
        assert_ne!(key, LockKey::new("plinth", "worker"));
        assert_ne!(key, LockKey::new("ledger", "api"));
        assert_ne!(LockKey::new("a", "bc"), LockKey::new("ab", "c"));
    }
}
