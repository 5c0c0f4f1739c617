//! What a block must leave as it is. The policy refuses what it can see; this is compared around the block, whatever it did.

use super::{Connection, ResultSets, literal, simple::text};

/// Settings that change whom a block's successors run as, what they mean or what the host measures. All of them can be read by
/// anybody; what a server does not know is NULL before and after.
const SETTINGS: [&str; 29] = [
    "role",
    "session_authorization",
    SEARCH_PATH,
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "transaction_read_only",
    "transaction_isolation",
    "transaction_deferrable",
    "default_transaction_read_only",
    "default_transaction_isolation",
    "default_transaction_deferrable",
    "session_replication_role",
    "row_security",
    "client_min_messages",
    "client_encoding",
    "application_name",
    "datestyle",
    "intervalstyle",
    "timezone",
    "extra_float_digits",
    "bytea_output",
    "standard_conforming_strings",
    "synchronous_commit",
    "check_function_bodies",
    "track_counts",
    "allow_system_table_mods",
    "default_tablespace",
];

const SEARCH_PATH: &str = "search_path";

/// What else is asked for, by what it is called and what says it.
const PARTS: [(&str, &str); 4] = [
    ("the transaction", "transaction_timestamp()::text"),
    ("the session", "pg_backend_pid()::text"),
    ("current_user", "current_user::text"),
    ("session_user", "session_user::text"),
];

/// The transaction and the session at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// The parts and the settings, one text for all: it is compared sooner than thirty.
    all: Option<String>,
}

/// What stands between two of them. One more of it in a value makes another text in any case.
const BETWEEN: char = '\u{1f}';

/// What asks for it. Outside a transaction each statement has one of its own.
pub(crate) fn around_query(inside: bool) -> String {
    format!("select {}", around_expression(inside))
}

/// The same for a query that asks for more.
pub(super) fn around_expression(inside: bool) -> String {
    let parts = PARTS.iter().enumerate().map(|(place, (_, says))| if inside || place > 0 { *says } else { "null" }.to_owned());
    let settings = SETTINGS.iter().map(|setting| format!("current_setting({}, true)", literal(setting)));
    // Named in full: a function of a block's for texts would fit better than PostgreSQL's, which is for any array.
    format!("pg_catalog.array_to_string(array[{}], '{BETWEEN}', '')", parts.chain(settings).collect::<Vec<_>>().join(", "))
}

/// Asks for the search path, before anything that is looked up by it: whoever puts a schema before PostgreSQL's own would answer that.
pub(crate) const PATH: &str = "show search_path";

impl Around {
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Around {
        Around::of(sets.set_from_end(place).first().and_then(|row| text(row, 0)))
    }

    pub(super) fn of(all: Option<&str>) -> Around {
        Around { all: all.map(str::to_owned) }
    }

    /// The first part that is another one now. `path` is what [`PATH`] said.
    pub(crate) fn changed(&self, now: &Around, path: Option<&str>) -> Option<&'static str> {
        let names = || PARTS.iter().map(|(name, _)| *name).chain(SETTINGS);
        let before = self.all.as_ref().and_then(|all| names().zip(all.split(BETWEEN)).find(|(name, _)| *name == SEARCH_PATH));
        if path.is_none() || before.map(|(_, before)| before) != path {
            return Some(SEARCH_PATH);
        }
        if self.all.is_some() && self == now {
            return None;
        }
        let list = |around: &Around| around.all.clone().unwrap_or_default();
        let place = list(self).split(BETWEEN).zip(list(now).split(BETWEEN)).position(|(before, after)| before != after);
        // What cannot be compared is not as it was.
        Some(place.and_then(|place| names().nth(place)).unwrap_or("the session"))
    }
}

/// After a block's transaction: whatever it left in the session although the policy refuses it, so that the next block meets
/// nothing of it. Inside a transaction of its own, after COMMIT or ROLLBACK.
const TIDY: &str = "close all; unlisten *; discard temp; select pg_advisory_unlock_all()";

impl Connection {
    /// What tidies the session after a block. Where the server can, it also counts anew for the next one: see
    /// [`Connection::counts_from_nothing`].
    pub(crate) fn tidy(&self) -> String {
        if self.flushes() { format!("{TIDY}, pg_stat_force_next_flush()") } else { TIDY.to_owned() }
    }
}

/// Before the host's own statements in a block's transaction.
pub(crate) const HOST_PATH: &str = "set local search_path = pg_catalog, pg_temp";
