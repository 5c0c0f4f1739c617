//! A real PostgreSQL server as a child process: for tests, for trying Plinth out, for
//! single-machine use.
//!
//! [`Server`] finds server programs ([`Binaries`]), makes a data folder, starts `postgres` on a
//! private unix socket and stops it when it is dropped. It works as root (the server then runs as
//! an unprivileged user), several at once, and no server outlives its parent, not even after
//! `SIGKILL`: see `process.rs`.
//!
//! Everything here is synchronous. In async code call [`Builder::start`] and [`Server::stop`]
//! through `spawn_blocking`: a start takes 30 ms, or a second when the data folder has to be made
//! first.
//!
//! ```no_run
//! use plinth_embedded::Server;
//!
//! let server = Server::builder().in_memory(true).start()?;
//! println!("{}", server.url("postgres")); // for tokio_postgres::connect
//! server.stop()?;
//! # Ok::<(), plinth_embedded::EmbeddedError>(())
//! ```

mod account;
mod binaries;
mod builder;
#[cfg(feature = "bundled")]
mod bundled;
mod copy;
mod data;
mod error;
mod initdb;
mod lock;
mod log;
mod postmaster;
mod process;
mod scratch;
mod server;
mod snapshot;
#[cfg(feature = "bundled")]
mod tar;
mod tcp;
mod url;

pub use binaries::Binaries;
pub use builder::Builder;
pub use error::EmbeddedError;
pub use server::Server;
pub use snapshot::{Difference, Snapshot, Unsteady};
