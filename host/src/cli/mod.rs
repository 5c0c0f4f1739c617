//! The command: arguments in, a report on standard output, an exit code. Everything else is the library's.

mod arguments;
mod bar;
mod baseline;
mod build;
mod bundle;
mod database;
mod handover;
mod inspect;
mod isolate;
mod markdown;
mod new;
mod pack;
mod print;
mod rehearsal;
mod serve;
mod signal;
mod supply;
mod test;

use crate::{BootError, Host, Report, embedded::Server};
use arguments::{Arguments, Command, Format, PlanFormat, Shared};
use clap::Parser;
use database::Reached;
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// Exit codes, as `plinth --help` tells them.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const WAITING: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Runs the command with the program's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.verbose, &arguments.command);
    if matches!(arguments.command, Command::Run { isolate: true, .. })
        && isolate::is_inside()
        && let Err(error) = isolate::enter()
    {
        return refused(&format!("the boot cannot be isolated: {error}"), FAILED);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&format!("the runtime cannot be started: {error}"), FAILED),
    };
    let code = runtime.block_on(command(arguments.command));
    // A signal's listener may still wait; nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}

fn log(verbose: u8, command: &Command) {
    let default = match verbose {
        // Of the hundred boots of a test only the result is read.
        0 if matches!(command, Command::Test(_)) => "plinth=error",
        0 => "plinth=info",
        1 => "plinth=debug",
        _ => "plinth=trace,tokio_postgres=debug",
    };
    let filter = EnvFilter::try_from_env("PLINTH_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A library in the same process may have set one: then that one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .without_time()
        .try_init();
}

fn refused(message: &str, code: u8) -> ExitCode {
    print::error(message);
    ExitCode::from(code)
}

async fn command(command: Command) -> u8 {
    match command {
        Command::Run { shared, command, .. } if shared.embedded && !command.is_empty() => {
            print::error(
                "an embedded server ends with this process's command: give the database's address to run a command on it",
            );
            USAGE
        }
        Command::Run { shared, command, isolate: true, .. } if !isolate::is_inside() => isolate::outside(&shared, &command).await,
        Command::Run { shared, build, format, lock_timeout, retry_for, isolate, command } => {
            let configure = |host: Host| {
                let host = host.lock_deadline(lock_timeout).retry_for(retry_for);
                match build {
                    Some(build) => host.build(build),
                    None => host,
                }
            };
            on_database(shared.that_runs(isolate), configure, |host| run(host, format, command, isolate)).await
        }
        Command::Backfill { shared, format } => on_database(shared, |host| host, |host| backfill(host, format)).await,
        Command::Baseline { shared, assume, lock_timeout, format } => {
            let adopt = |host| baseline(host, assume, format);
            on_database(shared, |host| host.lock_deadline(lock_timeout), adopt).await
        }
        Command::Plan { run: true, format: PlanFormat::Dot | PlanFormat::Mermaid, .. } => {
            print::error("a diagram shows the order, not a run: leave --run out, or use --format table, json or markdown");
            USAGE
        }
        Command::Plan { shared, run: true, format } => on_database(shared, |host| host, |host| rehearse(host, format)).await,
        Command::Plan { shared, run: false, format } => on_database(shared, |host| host, |host| plan(host, format)).await,
        Command::Setup { shared, apply, roles: _ } => on_database(shared, |host| host, |host| setup(host, apply)).await,
        Command::Status { shared, format } => on_database(shared, |host| host, |host| status(host, format)).await,
        Command::Verify { shared, format } => on_database(shared, |host| host, |host| verify(host, format)).await,
        Command::New(arguments) => new::new(&arguments),
        Command::Test(arguments) => test::test(arguments).await,
        Command::Pack(arguments) => pack::pack(&arguments),
        Command::Build(arguments) => build::command(&arguments),
        Command::Bundle(arguments) => bundle::bundle(&arguments),
        Command::Compile(arguments) => bundle::compile(&arguments),
        Command::Compare(arguments) => bundle::compare(&arguments),
        Command::Unpack(arguments) => bundle::unpack(&arguments),
        Command::Lock { blocks, lock_file } => supply::lock(&blocks, lock_file),
        Command::Key { file } => supply::key(&file),
        Command::Sign { key, files } => supply::signed(&key, &files),
        Command::Serve { shared, listen, title } => {
            let application = shared.application.clone();
            let named = |host: &Host| title.unwrap_or_else(|| format!("{} ({application})", host.database.name()));
            on_database(shared, |host| host, |host| serve::serve(host.clone(), named(&host), listen)).await
        }
        Command::Inspect { file, format } => inspect::inspect(&file, format),
    }
}

/// Reaches the database, runs something on it, and leaves nothing behind.
async fn on_database<F, R>(shared: Shared, configure: impl FnOnce(Host) -> Host, work: F) -> u8
where
    F: FnOnce(Host) -> R,
    R: Future<Output = u8>,
{
    let reached = database::reach(&shared).await.and_then(|mut reached| {
        if shared.isolated {
            isolate::borrowed(&mut reached.database, &mut reached.blocks)?;
        }
        Ok(reached)
    });
    let Reached { database, blocks, server } = match reached {
        Ok(reached) => reached,
        Err(error) => {
            print::error(&format!("{error:#}"));
            return USAGE;
        }
    };
    let (runs, embedded, isolated) = (shared.runs, shared.embedded, shared.isolated);
    let keys = match shared.keys() {
        Ok(keys) => keys,
        Err(error) => {
            print::error(&error.to_string());
            return USAGE;
        }
    };
    let host = configure(shared.host(database.clone(), keys));
    let host = match (embedded, blocks) {
        (true, _) => database::walled(host, &database, runs).await,
        (false, Some(blocks)) => Ok(host.blocks_as(blocks)),
        (false, None) => Ok(host),
    };
    let code = match host.and_then(|host| if isolated { isolate::close(host) } else { Ok(host) }) {
        Ok(host) => work(host).await,
        Err(error) => match error.downcast_ref::<BootError>() {
            Some(error) => failed(error, Format::Table),
            None => {
                print::error(&format!("{error:#}"));
                FAILED
            }
        },
    };
    stop(server).await;
    code
}

/// Stops the server that was started, if one was.
async fn stop(server: Option<Server>) {
    if let Some(server) = server {
        // Stopping waits for the server: not on a thread of the runtime.
        let _ = tokio::task::spawn_blocking(move || server.stop()).await;
    }
}

async fn run(host: Host, format: Format, next: Vec<OsString>, isolated: bool) -> u8 {
    let mut stopped = std::pin::pin!(signal::told_to_stop());
    let bar = bar::show(&host);
    let booted = host.boot_until(&mut stopped).await;
    bar.end().await;
    if next.is_empty() {
        return reported(booted, format);
    }
    // Standard output is the next command's.
    if let Some(report) = report_of(&booted) {
        print::aside(report, format);
    }
    if let Err(error) = booted {
        return failed(&error, format);
    }
    // The outer process becomes it, which has the right to start one.
    if isolated { 0 } else { handover::unless(stopped, &next).await }
}

async fn backfill(host: Host, format: Format) -> u8 {
    let stopped = signal::told_to_stop();
    let bar = bar::show(&host);
    let done = host.background_until(stopped).await;
    bar.end().await;
    reported(done, format)
}

fn report_of(booted: &Result<Report, BootError>) -> Option<&Report> {
    booted.as_ref().ok().or_else(|| booted.as_ref().err().and_then(BootError::report))
}

fn reported(booted: Result<Report, BootError>, format: Format) -> u8 {
    match (report_of(&booted), format) {
        (Some(report), Format::Json) => print::json(report),
        (Some(report), Format::Table) => print::report(report),
        (None, _) => {}
    }
    match booted {
        Ok(_) => 0,
        Err(error) => failed(&error, format),
    }
}

async fn setup(host: Host, apply: bool) -> u8 {
    if !apply {
        print::text(&host.roles(false));
        return 0;
    }
    match host.set_roles_up().await {
        Ok(()) => 0,
        Err(error) => failed(&error, Format::Table),
    }
}

async fn plan(host: Host, format: PlanFormat) -> u8 {
    match host.plan().await {
        Ok(preview) => {
            match format {
                PlanFormat::Json => print::json(&preview),
                PlanFormat::Table => print::preview(&preview),
                PlanFormat::Markdown => print::text(&markdown::preview(&preview)),
                PlanFormat::Dot => print::text(&preview.dot()),
                PlanFormat::Mermaid => print::text(&preview.mermaid()),
            }
            if preview.is_waiting() { WAITING } else { 0 }
        }
        Err(error) => failed(&error, Format::Table),
    }
}

async fn rehearse(host: Host, format: PlanFormat) -> u8 {
    let stopped = signal::told_to_stop();
    match host.rehearse_until(stopped).await {
        Ok(rehearsal) => {
            match format {
                PlanFormat::Json => print::json(&rehearsal),
                PlanFormat::Markdown => print::text(&markdown::rehearsal(&rehearsal)),
                _ => rehearsal::print(&rehearsal),
            }
            match (rehearsal.passed, rehearsal.is_waiting()) {
                (false, _) => FAILED,
                (true, true) => WAITING,
                (true, false) => 0,
            }
        }
        Err(error) => failed(&error, Format::Table),
    }
}

async fn baseline(host: Host, assume: Vec<String>, format: Format) -> u8 {
    match host.baseline(&assume.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(found) => {
            match format {
                Format::Json => print::json(&found),
                Format::Table => baseline::print(&found),
            }
            if found.is_complete() { 0 } else { WAITING }
        }
        Err(error) => failed(&error, format),
    }
}

async fn status(host: Host, format: Format) -> u8 {
    match host.status().await {
        Ok(status) => {
            match format {
                Format::Json => print::json(&status),
                Format::Table => print::status(&status),
            }
            match (status.is_failed(), status.is_waiting()) {
                (true, _) => FAILED,
                (false, true) => WAITING,
                (false, false) => 0,
            }
        }
        Err(error) => failed(&error, format),
    }
}

async fn verify(host: Host, format: Format) -> u8 {
    match host.verify().await {
        Ok(found) => {
            match format {
                Format::Json => print::json(&found),
                Format::Table => print::verification(&found),
            }
            if found.holds() { 0 } else { FAILED }
        }
        Err(error) => failed(&error, format),
    }
}

/// Says what went wrong, unless the report on standard output is all that a program will read.
fn failed(error: &BootError, format: Format) -> u8 {
    if error.report().is_none_or(|report| report.failure().is_none()) || format == Format::Table {
        print::boot_error(error);
    }
    match error {
        BootError::Interrupted(_) => INTERRUPTED,
        error if error.is_usage() => USAGE,
        _ => FAILED,
    }
}
