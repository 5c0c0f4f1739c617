//! The server: how to reach it, and what goes over the wire.

mod backend;
mod connect;
mod copied;
mod ending;
#[cfg(feature = "cli")]
pub(crate) mod lent;
mod messages;
mod round_trips;
mod server;
pub(crate) mod simple;
mod tls;
mod url;

pub(crate) mod apart;
pub(crate) mod around;
pub(crate) mod catalog;
pub(crate) mod described;
pub(crate) mod discreet;
pub(crate) mod effects;
pub(crate) mod measured;
pub(crate) mod objects;
pub(crate) mod observer;
pub(crate) mod policy;
pub(crate) mod questions;
pub(crate) mod session;
pub(crate) mod touched;

pub(crate) use connect::{Ahead, Canceller, Connection, Sent, ahead};
pub use connect::{ConnectError, Database};
pub(crate) use round_trips::RoundTrips;
#[cfg(feature = "cli")]
pub(crate) use server::Server;
pub(crate) use simple::{ResultSets, literal, name};

/// How long the network may be silent although it should not be.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);
