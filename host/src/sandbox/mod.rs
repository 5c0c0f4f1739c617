//! Where a block runs: its component compiled, its rights linked, its limits in force.

mod ahead;
mod cache;
mod engine;
mod guest;
mod limits;
mod run;

pub(crate) use ahead::Ahead;
pub use cache::CacheError;
pub(crate) use engine::Sandbox;
pub use limits::{LimitError, Limits};
pub(crate) use run::{BlockError, Ended, Running, Stepped};
