//! Which capabilities are tested when: the readers, and the tick that tests.

mod diagnosis;
mod readers;
mod runner;
mod tick;

pub use diagnosis::{DiagnosedSuite, Diagnosis, diagnose};
pub use readers::{Cadence, Overdue, count_overdue, count_paid_skipped, find_overdue};
pub use runner::{Recorded, Runner, Suite, TestRun};
pub use tick::{Minute, Ticked, tick};
