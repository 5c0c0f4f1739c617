//! The server: how to reach it, and what goes over the wire.

mod backend;
mod connect;
mod copied;
mod ending;
mod round_trips;
pub(crate) mod simple;
mod tls;
mod url;

pub(crate) mod around;
pub(crate) mod catalog;
pub(crate) mod effects;
pub(crate) mod objects;
pub(crate) mod observer;
pub(crate) mod policy;
pub(crate) mod questions;
pub(crate) mod session;
pub(crate) mod touched;
pub(crate) mod value;

pub(crate) use connect::{Canceller, Connection};
pub use connect::{ConnectError, Database};
pub(crate) use round_trips::RoundTrips;
pub(crate) use simple::{ResultSets, literal, name};
