//! The reference service: an API that boots its database with Plinth before it serves anybody. Small, and meant to be copied from.
//!
//! The order at start is in [`start`]: the health listener, so that a probe sees what a boot does; the boot; validation; the
//! scheduler; and only then the API's own listener. Whatever fails on the way ends the process with one report. Backfills that the
//! boot leaves for later go on while it serves.
//!
//! What it does beyond that is what its blocks are about: it sells capabilities, tests them on a schedule ([`scheduler`]), and
//! must never schedule a suite that costs money ([`costs`], [`invariant`], [`suites`]).

mod behind;
pub mod config;
pub mod costs;
pub mod http;
pub mod invariant;
pub mod metrics;
pub mod reason;
pub mod scheduler;
pub mod service;
pub mod start;
pub mod suites;
pub mod traces;
