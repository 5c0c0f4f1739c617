//! `postmaster.pid`, the file in which a server says who it is and whether it is ready.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Lines 1 and 8 of `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    /// Accepts connections.
    pub(super) ready: bool,
}

/// Who is said to use a data folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Nobody,
    /// A server that runs there.
    Server(u32),
    /// A server that is gone, whose process id now belongs to another program.
    Impostor(u32),
}

pub(super) fn read(data: &Path) -> Option<PidFile> {
    parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?)
}

fn parse(text: &str) -> Option<PidFile> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let status = lines.nth(6).unwrap_or_default().trim();
    Some(PidFile { pid, ready: status == "ready" || status == "standby" })
}

pub(super) fn occupant(data: &Path) -> Occupant {
    let Some(PidFile { pid, .. }) = read(data) else { return Occupant::Nobody };
    match (alive(pid), runs_in(pid, data)) {
        (false, _) => Occupant::Nobody,
        (true, Some(false)) => Occupant::Impostor(pid),
        (true, _) => Occupant::Server(pid),
    }
}

/// Stops the server of a folder whose owner is gone: at once, since its data are about to be
/// removed.
pub(super) fn end_orphan(data: &Path) {
    for (signal, patience) in [(Signal::SIGQUIT, Duration::from_secs(2)), (Signal::SIGKILL, Duration::from_secs(1))] {
        let Some(PidFile { pid, .. }) = read(data) else { return };
        // Only a process that surely is the server of this very folder.
        if !alive(pid) || runs_in(pid, data) != Some(true) {
            return;
        }
        tracing::debug!(pid, data = %data.display(), %signal, "ending an orphaned PostgreSQL server");
        if let Some(process) = pid_of(pid) {
            let _ = kill(process, signal);
        }
        let deadline = Instant::now() + patience;
        while runs_in(pid, data) == Some(true) && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
    }
}

fn alive(pid: u32) -> bool {
    // EPERM means that there is such a process, of another user.
    pid_of(pid).is_some_and(|pid| kill(pid, None) != Err(nix::errno::Errno::ESRCH))
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// Whether the process is a PostgreSQL server on this folder; `None` if that cannot be seen.
fn runs_in(pid: u32, data: &Path) -> Option<bool> {
    let process = Path::new("/proc").join(pid.to_string());
    if process.join("stat").exists() {
        // A server works in its data folder. A zombie has neither link, and is no server any more.
        let (program, folder) = match (fs::read_link(process.join("exe")), fs::read_link(process.join("cwd"))) {
            (Ok(program), Ok(folder)) => (program, folder),
            (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => return Some(false),
            _ => return None,
        };
        let is_postgres = program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"postgres"));
        return Some(is_postgres && folder == data.canonicalize().ok()?);
    }
    let shown = std::process::Command::new("ps").args(["-o", "command=", "-p"]).arg(pid.to_string()).output().ok()?;
    let command = String::from_utf8_lossy(&shown.stdout).into_owned();
    Some(command.contains("postgres") && command.contains(data.to_str()?))
}

/// Makes PostgreSQL see the pid file of a server that is gone as stale, although its process id
/// lives on in another program (in containers, ids repeat at every start). PostgreSQL accepts the
/// id of its own parent, which is us, and then still makes its second check, for shared memory in
/// use, which it could not if the file were removed.
pub(super) fn disown(data: &Path) -> std::io::Result<()> {
    let path = data.join("postmaster.pid");
    let text = fs::read_to_string(&path)?;
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    fs::write(&path, format!("{}\n{rest}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::{Occupant, PidFile, occupant, parse};

    #[test]
    fn the_eighth_line_says_ready() {
        let ready = "41\n/data\n1700000000\n5432\n/tmp/s\n\n  1234  5\nready   \n";
        assert_eq!(parse(ready), Some(PidFile { pid: 41, ready: true }));
        assert_eq!(parse("41\n/data\n17\n5432\n/tmp/s\n\n 1 5\nstarting\n"), Some(PidFile { pid: 41, ready: false }));
        assert_eq!(parse("41\n/data\n"), Some(PidFile { pid: 41, ready: false }));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn another_program_with_the_same_id_is_no_server() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("postmaster.pid");
        assert_eq!(occupant(data.path()), Occupant::Nobody);
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(occupant(data.path()), Occupant::Impostor(std::process::id()));
        std::fs::write(&file, "4194305\n").unwrap();
        assert_eq!(occupant(data.path()), Occupant::Nobody);
    }
}
