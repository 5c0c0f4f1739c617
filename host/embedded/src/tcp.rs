//! Listening on 127.0.0.1: a free port, and a password, since other users of the machine can reach
//! that port.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, io_error};

/// A port that was free a moment ago.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Gives the role `postgres` a new random password, with the server in single-user mode.
pub(super) fn set_password(binaries: &Binaries, account: &Account, data: &Path) -> Result<String, EmbeddedError> {
    let password = random().map_err(io_error("read", Path::new("/dev/urandom")))?;
    let failed = || io_error("run", Path::new("postgres --single"));
    let mut single = binaries
        .command(account, "postgres")
        .args(["--single", "-c", "password_encryption=scram-sha-256", "-c", "log_min_messages=error"])
        .args(["-c", "log_statement=none", "-c", "logging_collector=off", "-D"])
        .arg(data)
        .arg("template1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    if let Some(mut input) = single.stdin.take() {
        writeln!(input, "ALTER ROLE postgres PASSWORD '{password}'").map_err(failed())?;
    }
    let ended = single.wait_with_output().map_err(failed())?;
    let output = String::from_utf8_lossy(&ended.stderr).trim().replace(&password, "********");
    // Single-user mode reports a failed statement, but ends well.
    if !ended.status.success() || output.contains("ERROR:") {
        return Err(EmbeddedError::Prepare { program: "postgres --single", status: ended.status.to_string(), output });
    }
    Ok(password)
}

fn random() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
