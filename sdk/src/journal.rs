//! Lines for people.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the block's author.
    Debug,
    /// Worth reading in a report.
    Info,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Error,
}
