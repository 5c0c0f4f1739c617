//! The server of a test program: started with its first database, ended with the program.

use plinth_embedded::Server;
use std::sync::OnceLock;

/// A PostgreSQL of this program's own, in memory if there is room: the one of the machine, the fetched package, or the one that the
/// feature `bundled-postgres` carries.
///
/// # Panics
///
/// If there is none, with a text that says how to get one.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let started = Server::builder().in_memory(true).durable(false).setting("max_connections", "100").start();
        started.unwrap_or_else(|error| panic!("{error}"))
    })
}
