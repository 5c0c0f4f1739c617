//! Starts a server in memory, says how long that took, and ends it: `cargo run --release -p plinth-embedded --example start`.

use plinth_embedded::{EmbeddedError, Server};
use std::time::Instant;

fn main() -> Result<(), EmbeddedError> {
    let began = Instant::now();
    let server = Server::builder().in_memory(true).start()?;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    let line = format!("PostgreSQL {} in {}: {took:.0} ms", server.binaries().version(), server.binaries().folder().display());
    server.stop()?;
    #[allow(clippy::print_stdout)]
    {
        println!("{line}");
    }
    Ok(())
}
