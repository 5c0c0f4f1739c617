//! Becoming another command, the usual way in a container: boot, then be the service.

use super::print;
use std::{ffi::OsString, io::ErrorKind, os::unix::process::CommandExt, process::Command};

/// Replaces this process by a command; returns only if there is none, or if it cannot be started.
///
/// The process stays the same one, so that a supervisor's signals reach the command and its exit code is the process's.
/// Connections close with it: every descriptor of ours is closed by exec.
pub(super) fn become_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return 0 };
    let error = Command::new(program).args(arguments).exec();
    print::error(&format!("{} cannot be started: {error}", program.display()));
    // As a shell has it.
    if error.kind() == ErrorKind::NotFound { 127 } else { 126 }
}
