//! The server's process, and a watcher that ends it when we die.
//!
//! Two children, both a `/bin/sh` at first, each with a pipe from us as its input:
//!
//! ```text
//!   we ──pipe──> gate:    waits for a word, then becomes postgres (same process id)
//!   we ──pipe──> watcher: waits for a word; end of file instead means that we died: it stops that process id
//! ```
//!
//! The gate opens only after the watcher runs, so there is no moment at which our death leaves a
//! server behind. The system closes the pipes however we end, `SIGKILL` included.
//! `PR_SET_PDEATHSIG` would do the same with less, but it is tied to the thread that spawned the
//! server, is cleared by setuid, needs `unsafe`, and exists on Linux alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::account::Account;

const GATE: &str = r#"read -r word || exit 1; exec "$@" </dev/null"#;

/// A fast shutdown first; a server that still writes a checkpoint after a second is stopped at
/// once, which loses nothing either: it recovers at its next start.
const WATCH: &str = r#"
    trap '' HUP INT QUIT TERM
    read -r word && exit 0
    for signal in INT QUIT KILL; do
        kill -"$signal" "$1" || exit 0
        for tenth in 1 2 3 4 5 6 7 8 9 10; do
            sleep 0.1
            kill -0 "$1" || exit 0
        done
    done
"#;

/// How often a wait looks again: a start or a stop takes some 10 ms.
pub(super) const POLL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Process {
    postgres: Child,
    watcher: Child,
}

/// How a server is asked to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shutdown {
    /// Disconnects everybody and writes a checkpoint.
    Fast,
    /// Ends at once, as in a crash; the next start recovers.
    Immediate,
}

impl Process {
    /// Starts `server`, a command made by `account`, with its output going to `log`.
    pub(super) fn spawn(account: &Account, server: &Command, log: File) -> io::Result<Process> {
        let mut gate = account.command("/bin/sh");
        gate.args(["-c", GATE, "plinth-gate"]).arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => gate.env(name, value),
                None => gate.env_remove(name),
            };
        }
        // A group of its own: Ctrl-C is for us, and we stop the server in our order.
        gate.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut postgres = gate.spawn()?;

        let watching = account
            .command("/bin/sh")
            .args(["-c", WATCH, "plinth-watcher"])
            .arg(postgres.id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let watcher = match watching {
            Ok(watcher) => watcher,
            Err(error) => {
                drop(postgres.stdin.take());
                let _ = postgres.wait();
                return Err(error);
            }
        };
        let mut process = Process { postgres, watcher };
        if let Some(mut pipe) = process.postgres.stdin.take() {
            pipe.write_all(b"start\n")?;
        }
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.postgres.id()
    }

    /// How the server ended, if it did.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.postgres.try_wait()
    }

    /// Ends the server; `false` if it took longer than `patience` and was killed.
    pub(super) fn stop(&mut self, how: Shutdown, patience: Duration) -> io::Result<bool> {
        let first = match how {
            Shutdown::Fast => (Signal::SIGINT, patience),
            Shutdown::Immediate => (Signal::SIGQUIT, patience),
        };
        let mut in_time = true;
        for (signal, patience) in [first, (Signal::SIGQUIT, Duration::from_secs(5)), (Signal::SIGKILL, Duration::from_secs(5))] {
            if self.signal_and_wait(signal, patience)? {
                break;
            }
            in_time = false;
        }
        self.dismiss_watcher();
        Ok(in_time)
    }

    fn signal_and_wait(&mut self, signal: Signal, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        // An ended child keeps its id until this call sees it, so the signal cannot reach a
        // stranger.
        if self.postgres.try_wait()?.is_none()
            && let Ok(pid) = i32::try_from(self.postgres.id())
        {
            kill(Pid::from_raw(pid), signal)?;
        }
        while self.postgres.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(POLL);
        }
        Ok(true)
    }

    /// Only after the server is gone: the word that tells the watcher that there is nothing to do.
    fn dismiss_watcher(&mut self) {
        if let Some(mut pipe) = self.watcher.stdin.take() {
            let _ = pipe.write_all(b"done\n");
            drop(pipe);
            let _ = self.watcher.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop(Shutdown::Fast, Duration::from_secs(10));
    }
}
