//! `plinth run --isolate`: the boot in a process of its own, which reaches the database and nothing else.
//!
//! The process that was started stays outside. It keeps what the boot must not have: it starts the embedded server, connects to the
//! database and hands the sockets over, passes a request to stop on, says how the inner process died, and becomes the command that was
//! to follow. The inner one reads components, keys and certificates, then closes the walls behind itself, and only then connects and
//! runs blocks. It keeps no compiled code: what it could write there, the next boot would run.

mod walls;

use super::{
    FAILED, INTERRUPTED, USAGE,
    arguments::Shared,
    database::{Reached, reach},
    handover, print, stop,
};
use crate::{
    Database, Host,
    database::lent::{Lender, ends, lend},
};
use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env,
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    pin::Pin,
    process::{Child, Command, ExitStatus},
    sync::Arc,
};

/// Tells the inner process that it is the inner one, and the address of the embedded server if there is one.
const INSIDE: &str = "PLINTH_ISOLATED";

/// Whether this is the inner process.
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// In the inner process: the address of the server that the outer one started.
pub(super) fn server() -> Option<String> {
    env::var(INSIDE).ok()
}

/// In the inner process, first of all: nothing that was open when it was started stays open, but for what it reports on and the end
/// that sockets come by, and the system's limits are set.
pub(super) fn enter() -> anyhow::Result<()> {
    let open: Vec<i32> =
        fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that was listed by is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    walls::limit()
}

/// In the inner process: the databases, reached by sockets that the outer one opens.
pub(super) fn borrowed(database: &mut Database, blocks: &mut Option<Database>) -> anyhow::Result<()> {
    let end = io::stdin().as_fd().try_clone_to_owned().context("the outer process cannot be reached")?;
    let lender = Arc::new(Lender::new(end, servers(database, blocks.as_ref())).context("the outer process cannot be reached")?);
    *database = database.lent_by(&lender);
    *blocks = blocks.as_ref().map(|blocks| blocks.lent_by(&lender));
    Ok(())
}

/// In the inner process: reads what is to be read, and closes the walls, around all threads that there are.
pub(super) fn close(host: Host) -> anyhow::Result<Host> {
    let host = host.ready()?;
    for filter in walls::filters()? {
        seccompiler::apply_filter_all_threads(&filter)?;
    }
    Ok(host)
}

/// The servers that sockets are lent to, the same in both processes.
fn servers(database: &Database, blocks: Option<&Database>) -> Vec<crate::database::Server> {
    database.servers().into_iter().chain(blocks.into_iter().flat_map(Database::servers)).collect()
}

/// In the outer process: runs the same command inside, waits for it, and becomes the next one.
pub(super) async fn outside(shared: &Shared, next: &[OsString]) -> u8 {
    let Reached { database, blocks, server } = match reach(shared).await {
        Ok(reached) => reached,
        Err(error) => {
            print::error(&format!("{error:#}"));
            return USAGE;
        }
    };
    let mut told_to_stop = std::pin::pin!(super::signal::told_to_stop());
    let started = ends().map_err(anyhow::Error::from).and_then(|(ours, theirs)| {
        let embedded = server.as_ref().map(|server| server.url("postgres"));
        Ok((ours, start(theirs, embedded.unwrap_or_default())?))
    });
    let (code, told) = match started {
        Ok((ours, inside)) => {
            let lending = tokio::spawn(lend(ours, servers(&database, blocks.as_ref()), database.patience()));
            let ended = wait(inside, told_to_stop.as_mut()).await;
            lending.abort();
            ended
        }
        Err(error) => {
            print::error(&format!("the boot cannot be isolated: {error:#}"));
            (FAILED, false)
        }
    };
    stop(server).await;
    match code {
        0 if !next.is_empty() && told => INTERRUPTED,
        0 if !next.is_empty() => handover::unless(told_to_stop, next).await,
        code => code,
    }
}

fn start(end: OwnedFd, embedded: String) -> anyhow::Result<Child> {
    let program = env::current_exe()?;
    Ok(Command::new(program).args(env::args_os().skip(1)).env(INSIDE, embedded).stdin(end).spawn()?)
}

/// Waits for the inner process: its code, and whether it was told to stop, since such a request is passed on.
async fn wait(mut inside: Child, mut told_to_stop: Pin<&mut impl Future<Output = ()>>) -> (u8, bool) {
    let process = inside.id().try_into().ok().map(Pid::from_raw);
    let mut ending = tokio::task::spawn_blocking(move || inside.wait());
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended.unwrap_or_else(|error| Err(io::Error::other(error))),
            () = told_to_stop.as_mut(), if !told => {
                told = true;
                if let Some(Err(error)) = process.map(|process| kill(process, Signal::SIGTERM)) {
                    tracing::warn!(%error, "the boot cannot be told to stop");
                }
            }
        }
    };
    let code = ended.map(code).unwrap_or_else(|error| {
        print::error(&format!("the boot's process cannot be waited for: {error}"));
        FAILED
    });
    (code, told)
}

fn code(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
        print::error(&format!(
            "the boot's process died of signal {signal} ({name}): what was not committed is rolled back, the next boot goes on from there"
        ));
        return FAILED;
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}
