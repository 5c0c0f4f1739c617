//! The service's command: serve, check the invariant, or print the API's description.

use plinth_api::{config::Config, http, invariant, reason::reason, start};
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

const HELP: &str = "plinth-api            serve; configured by the environment, see api/src/config.rs
plinth-api check      look at the invariant of the database at DATABASE_URL, read-only; exit code 1 if it is broken
plinth-api openapi    print the description of the API
";

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        None => {
            configured(|config| async { start::start(config, start::told_to_stop()).await.map_err(|error| start::told(&error)) })
        }
        Some("check") => configured(|config| async move { check(&config).await }),
        Some("openapi") => say(&http::description()),
        Some(_) => {
            let _ = io::stderr().write_all(HELP.as_bytes());
            ExitCode::from(2)
        }
    }
}

/// Runs with the environment's configuration.
fn configured<R: Future<Output = Result<(), String>>>(work: impl FnOnce(Config) -> R) -> ExitCode {
    let filter = EnvFilter::try_from_env("API_LOG").unwrap_or_else(|_| EnvFilter::new("info,tokio_postgres=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    let config = match Config::from_environment(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => return refused(&error.to_string(), 2),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error.to_string(), 1),
    };
    let done = runtime.block_on(work(config));
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => refused(&report, 1),
    }
}

async fn check(config: &Config) -> Result<(), String> {
    let pool = config.pool().map_err(|error| error.to_string())?;
    let client = pool.get().await.map_err(|error| format!("the database cannot be reached: {}", reason(&error)))?;
    let found =
        invariant::check(&client).await.map_err(|error| format!("the invariant cannot be looked at: {}", reason(&error)))?;
    if !found.holds() {
        return Err(found.to_string());
    }
    say(&found.to_string());
    Ok(())
}

fn say(text: &str) -> ExitCode {
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn refused(report: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {report}");
    ExitCode::from(code)
}
