//! Every limit of a block, in one place, with its reason.

use std::time::Duration;

/// What a block may use. The defaults suit schema work; each can be set.
///
/// ```
/// let limits = plinth::Limits { memory: 128 << 20, ..plinth::Limits::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a component file. Compiling has no limit of its own, and its time follows the size: the blocks here have
    /// 0.1 MiB.
    pub component_bytes: u64,
    /// Bytes of the guest's memory. Rows come in parts, so a block needs little.
    pub memory: usize,
    /// Elements of the guest's tables: function pointers, a few hundred in Rust.
    pub table_elements: usize,
    /// Bytes of the guest's stack. Deep recursion is a bug here.
    pub stack: usize,
    /// Handles of resources that are open at once: sub-steps.
    pub handles: usize,
    /// Bytes that cross from the guest to the host in one call: a statement with its parameters.
    pub call_bytes: usize,
    /// Time in which the guest computes. It waits for the database most of its life.
    pub cpu: Duration,
    /// Time for a block from its start to its COMMIT, unless its budget says less.
    pub wall: Duration,
    /// PostgreSQL's `statement_timeout` for each statement.
    pub statement: Duration,
    /// PostgreSQL's `lock_timeout` for each statement. While a statement waits for a lock, everybody else queues behind it.
    pub lock: Duration,
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
    /// Sub-steps that are open at once.
    pub savepoints: usize,
    /// Statements that are kept prepared for a block.
    pub prepared_statements: usize,
    /// Lines that a block may log; what is above is counted.
    pub journal_lines: usize,
    /// Bytes of one line; what is above is cut.
    pub journal_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            component_bytes: 4 << 20,
            memory: 64 << 20,
            table_elements: 10_000,
            stack: 512 << 10,
            handles: 64,
            call_bytes: 16 << 20,
            cpu: Duration::from_secs(10),
            wall: Duration::from_secs(15 * 60),
            statement: Duration::from_secs(5 * 60),
            lock: Duration::from_secs(5),
            statements: 100_000,
            statement_bytes: 1 << 20,
            parameters: 32_767,
            rows_per_query: 100_000,
            bytes_per_query: 8 << 20,
            savepoints: 16,
            prepared_statements: 100,
            journal_lines: 200,
            journal_line_bytes: 2_000,
        }
    }
}
