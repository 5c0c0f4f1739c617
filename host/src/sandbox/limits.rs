//! Every limit of a block, in one place, with its reason.

use std::time::Duration;

/// What a block may use. The defaults suit schema work; each can be set, here or by `--limit NAME=VALUE`.
///
/// ```
/// let limits = plinth::Limits { memory: 128 << 20, ..plinth::Limits::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a component file. Compiling takes time by the size: the blocks here have 0.1 MiB.
    pub component_bytes: u64,
    /// Time for compiling a component. It cannot be interrupted: a thread that takes longer is left to its end, which the size
    /// bounds.
    pub compile: Duration,
    /// Bytes of the guest's memory. Rows come in parts, so a block needs little.
    pub memory: usize,
    /// Elements of the guest's tables: function pointers, a few hundred in Rust.
    pub table_elements: usize,
    /// Core instances of a component. One made by wit-component has four or five.
    pub instances: usize,
    /// Bytes of the guest's stack. Deep recursion is a bug here.
    pub stack: usize,
    /// Handles of resources that are open at once: sub-steps.
    pub handles: usize,
    /// Bytes that cross from the guest to the host in one call: a statement with its parameters.
    pub call_bytes: usize,
    /// Calls of the host. Each is counted, whether it sends something or not.
    pub calls: u64,
    /// Time in which the guest computes. It waits for the database most of its life.
    pub cpu: Duration,
    /// Time for a block from its start to its COMMIT, unless its budget says less.
    pub wall: Duration,
    /// PostgreSQL's `statement_timeout` for each statement.
    pub statement: Duration,
    /// PostgreSQL's `lock_timeout` for each statement. While a statement waits for a lock, everybody else queues behind it.
    pub lock: Duration,
    /// How far behind a replica may be before a backfill waits for it and makes its batches smaller.
    pub replica_lag: Duration,
    /// The same in bytes of WAL, which also tells of a replica that does not answer.
    pub replica_lag_bytes: u64,
    /// Statements of one block.
    pub statements: u64,
    /// Bytes of one statement's text.
    pub statement_bytes: usize,
    /// Parameters of one statement. PostgreSQL's protocol counts them in 16 bits and has no use for that many.
    pub parameters: usize,
    /// Rows of one query, all of which go into the guest's memory.
    pub rows_per_query: usize,
    /// Bytes of one query's rows as PostgreSQL sends them; in the guest they take several times that.
    pub bytes_per_query: usize,
    /// Rows that all queries of a block return. What is more than that is a copy of the database.
    pub rows_per_block: u64,
    /// Bytes of them.
    pub bytes_per_block: u64,
    /// Bytes that the server may send in one answer, rows, notices and all. A row is held whole before anybody can look at it, so
    /// this is what bounds the host's memory; a connection that brings more is given up.
    pub answer_bytes: u64,
    /// Warnings that the server may send for a block. They are thrown away as they come, so they only cost time; their bytes are
    /// among those of the answer.
    pub notices: u64,
    /// Sub-steps that are open at once.
    pub savepoints: usize,
    /// Statements that are kept prepared for a block.
    pub prepared_statements: usize,
    /// Lines that a block may log; what is above is counted.
    pub journal_lines: usize,
    /// Bytes of one line; what is above is cut.
    pub journal_line_bytes: usize,
    /// Bytes of a block's message: an error, a deferral's reason, what it says at its end. What is above is cut.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            component_bytes: 4 << 20,
            compile: Duration::from_secs(60),
            memory: 64 << 20,
            table_elements: 10_000,
            instances: 20,
            stack: 512 << 10,
            handles: 64,
            call_bytes: 16 << 20,
            calls: 1_000_000,
            cpu: Duration::from_secs(10),
            wall: Duration::from_secs(15 * 60),
            statement: Duration::from_secs(5 * 60),
            lock: Duration::from_secs(5),
            replica_lag: Duration::from_secs(10),
            replica_lag_bytes: 64 << 20,
            statements: 100_000,
            statement_bytes: 1 << 20,
            parameters: 32_767,
            rows_per_query: 100_000,
            bytes_per_query: 8 << 20,
            rows_per_block: 10_000_000,
            bytes_per_block: 1 << 30,
            answer_bytes: 64 << 20,
            notices: 10_000,
            savepoints: 16,
            prepared_statements: 100,
            journal_lines: 200,
            journal_line_bytes: 2_000,
            message_bytes: 4_000,
        }
    }
}

/// The name or the value of a limit is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There is no such limit.
    #[error("there is no limit {0}; there are: {names}", names = NAMES.join(", "))]
    Unknown(String),
    /// It is no number of that kind.
    #[error("{value} is no value for {name}: a whole number above 0, with K, M or G for bytes; times in seconds")]
    Value {
        /// The limit.
        name: String,
        /// What it was to be.
        value: String,
    },
}

/// All limits, as `--limit` takes them.
pub(crate) const NAMES: [&str; 29] = [
    "component-bytes",
    "compile",
    "memory",
    "table-elements",
    "instances",
    "stack",
    "handles",
    "call-bytes",
    "calls",
    "cpu",
    "wall",
    "statement",
    "lock",
    "replica-lag",
    "replica-lag-bytes",
    "statements",
    "statement-bytes",
    "parameters",
    "rows-per-query",
    "bytes-per-query",
    "rows-per-block",
    "bytes-per-block",
    "answer-bytes",
    "notices",
    "savepoints",
    "prepared-statements",
    "journal-lines",
    "journal-line-bytes",
    "message-bytes",
];

impl Limits {
    /// Sets a limit by its name: the field's, with `-` for `_`. Times are in seconds, sizes may end in K, M or G.
    ///
    /// # Errors
    ///
    /// If there is no such limit, or the value is none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitError> {
        let wrong = || LimitError::Value { name: name.to_owned(), value: value.to_owned() };
        let count = || count(value).ok_or_else(wrong);
        let size = || count()?.try_into().map_err(|_| wrong());
        let time = || time(value).ok_or_else(wrong);
        match name {
            "component-bytes" => self.component_bytes = count()?,
            "compile" => self.compile = time()?,
            "memory" => self.memory = size()?,
            "table-elements" => self.table_elements = size()?,
            "instances" => self.instances = size()?,
            "stack" => self.stack = size()?,
            "handles" => self.handles = size()?,
            "call-bytes" => self.call_bytes = size()?,
            "calls" => self.calls = count()?,
            "cpu" => self.cpu = time()?,
            "wall" => self.wall = time()?,
            "statement" => self.statement = time()?,
            "lock" => self.lock = time()?,
            "replica-lag" => self.replica_lag = time()?,
            "replica-lag-bytes" => self.replica_lag_bytes = count()?,
            "statements" => self.statements = count()?,
            "statement-bytes" => self.statement_bytes = size()?,
            "parameters" => self.parameters = size()?,
            "rows-per-query" => self.rows_per_query = size()?,
            "bytes-per-query" => self.bytes_per_query = size()?,
            "rows-per-block" => self.rows_per_block = count()?,
            "bytes-per-block" => self.bytes_per_block = count()?,
            "answer-bytes" => self.answer_bytes = count()?,
            "notices" => self.notices = count()?,
            "savepoints" => self.savepoints = size()?,
            "prepared-statements" => self.prepared_statements = size()?,
            "journal-lines" => self.journal_lines = size()?,
            "journal-line-bytes" => self.journal_line_bytes = size()?,
            "message-bytes" => self.message_bytes = size()?,
            _ => return Err(LimitError::Unknown(name.to_owned())),
        }
        Ok(())
    }
}

fn count(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (text.get(..text.len() - 1)?, 10),
        b'M' => (text.get(..text.len() - 1)?, 20),
        b'G' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|number| *number > 0)
}

fn time(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok().filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_an_option_and_every_option_is_a_limit() {
        let mut limits = Limits::default();
        for name in NAMES {
            limits.set(name, "7").unwrap();
        }
        let text = format!("{limits:?}");
        let fields = text.split_once("{ ").unwrap().1.trim_end_matches(" }").split(", ");
        for field in fields {
            assert!(field.ends_with(": 7") || field.ends_with(": 7s"), "{field} has no option");
        }
        assert!(matches!(limits.set("fuel", "7"), Err(LimitError::Unknown(_))));
    }

    #[test]
    fn sizes_and_times_are_read() {
        let mut limits = Limits::default();
        limits.set("memory", "2M").unwrap();
        limits.set("cpu", "0.5").unwrap();
        assert_eq!((limits.memory, limits.cpu), (2 << 20, Duration::from_millis(500)));
        for (name, value) in [("memory", "0"), ("memory", "-1"), ("memory", "1.5M"), ("cpu", "0"), ("cpu", "soon"), ("calls", "")]
        {
            assert!(limits.set(name, value).is_err(), "{name}={value}");
        }
    }
}
