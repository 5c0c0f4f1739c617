//! What runs a test. The reference service has no vendors to call: its runner only knows what a call would have cost.

use crate::costs;
use std::{future::Future, time::Duration};
use uuid::Uuid;

/// A suite that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its id.
    pub id: Uuid,
    /// The capability that it tests.
    pub capability: String,
    /// Its type.
    pub test_type: String,
    /// Its mode; without one it is not live.
    pub test_mode: Option<String>,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// Whether the answer was the right one.
    pub passed: bool,
    /// How long the answer took.
    pub took: Duration,
    /// What it cost, in cents, by the bill and not by the table.
    pub cost_cents: i32,
}

/// Something that runs suites.
pub trait Runner: Send + Sync {
    /// Runs one.
    fn run(&self, suite: &Suite) -> impl Future<Output = TestRun> + Send;
}

/// A runner that calls nobody: every test passes, at the recorded cost of the capability. What it bills does not come from the
/// database, so that a bill of more than nothing shows a paid suite that was scheduled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded;

impl Runner for Recorded {
    async fn run(&self, suite: &Suite) -> TestRun {
        let mode = suite.test_mode.as_deref().unwrap_or("");
        TestRun { passed: true, took: Duration::ZERO, cost_cents: costs::of(&suite.capability, &suite.test_type, mode) }
    }
}
