//! Becoming another command, the usual way in a container: boot, then be the service.

use super::{INTERRUPTED, print};
use std::{ffi::OsString, io::ErrorKind, os::unix::process::CommandExt, pin::Pin, process::Command};

/// Becomes a command, unless a signal came since the boot was over: the command would never hear of it.
pub(super) async fn unless(stopped: Pin<&mut impl Future<Output = ()>>, command: &[OsString]) -> u8 {
    tokio::select! {
        biased;
        () = stopped => INTERRUPTED,
        code = async { become_command(command) } => code,
    }
}

/// Replaces this process by a command; returns only if there is none, or if it cannot be started.
///
/// The process stays the same one, so that a supervisor's signals reach the command and its exit code is the process's.
/// Connections close with it: every descriptor of ours is closed by exec.
fn become_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return 0 };
    let error = Command::new(program).args(arguments).exec();
    print::error(&format!("{} cannot be started: {error}", program.display()));
    // As a shell has it.
    if error.kind() == ErrorKind::NotFound { 127 } else { 126 }
}
