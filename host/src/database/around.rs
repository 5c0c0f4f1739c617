//! What a block must leave as it is. The policy refuses what it can see; this is compared around the block, whatever it did.

use super::{Connection, ResultSets, literal, simple::text};

/// Settings that change whom a block's successors run as, what they mean or what the host measures. All of them can be read by
/// anybody; what a server does not know is NULL before and after.
const SETTINGS: [&str; 29] = [
    "role",
    "session_authorization",
    "search_path",
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

/// The transaction and the session at one moment: names of their parts with values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around(Vec<(String, Option<String>)>);

/// What asks for it. Outside a transaction each statement has one of its own.
pub(crate) fn around_query(inside: bool) -> String {
    let settings: Vec<String> =
        SETTINGS.iter().map(|setting| format!("current_setting({}, true) as {setting}", literal(setting))).collect();
    let transaction = if inside { "transaction_timestamp()::text as \"the transaction\"," } else { "" };
    format!(
        "select {transaction} pg_backend_pid()::text as \"the session\", current_user::text as current_user, session_user::text as session_user, {}",
        settings.join(", ")
    )
}

impl Around {
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Around {
        let Some(row) = sets.set_from_end(place).first() else { return Around::default() };
        let names = row.columns().iter().map(|column| column.name().to_owned());
        Around(names.enumerate().map(|(at, name)| (name, text(row, at).map(str::to_owned))).collect())
    }

    /// With the host's questions as they are prepared: see [`PREPARED`](super::questions::PREPARED).
    pub(crate) fn and_prepared(mut self, prepared: Option<String>) -> Around {
        self.0.push(("what the host has prepared".to_owned(), prepared));
        self
    }

    /// The first part that is another one now.
    pub(crate) fn changed<'a>(&self, now: &'a Around) -> Option<&'a str> {
        if self.0.len() != now.0.len() || now.0.is_empty() {
            return Some("the session");
        }
        self.0.iter().zip(&now.0).find(|(before, after)| before != after).map(|(_, (name, _))| name.as_str())
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
