//! What can be chosen about a server before it starts.

use std::path::PathBuf;
use std::time::Instant;

use super::account::Account;
use super::binaries::Binaries;
use super::data::{self, Data};
use super::error::EmbeddedError;
use super::scratch::sweep;
use super::server::Server;

/// Settings that [`Server`] relies on.
const OWNED: [&str; 9] = [
    "data_directory",
    "external_pid_file",
    "hba_file",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "password_encryption",
    "port",
    "unix_socket_directories",
];

/// Choices for a [`Server`]; from [`Server::builder`].
///
/// ```no_run
/// # use plinth_embedded::Server;
/// let server = Server::builder().data("./pgdata").setting("max_connections", "50").start()?;
/// # Ok::<(), plinth_embedded::EmbeddedError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    data: Option<PathBuf>,
    in_memory: bool,
    durable: Option<bool>,
    settings: Vec<(String, String)>,
    binaries: Option<Binaries>,
    tcp: bool,
}

impl Builder {
    /// A data folder that is kept, and made if it is missing or empty. Two files lie beside it:
    /// `NAME.plinth.lock` and `NAME.plinth.log`. Without this, the folder is a temporary one that
    /// is removed when the server stops.
    ///
    /// Any data folder of the same major version will do, if it has a role `postgres`; its
    /// `pg_hba.conf` is not used. As root, the server runs as the folder's owner.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.data = Some(folder.into());
        self
    }

    /// Puts a temporary data folder into `/dev/shm`, if 256 MiB are free there, else on disk. No
    /// effect on a named folder.
    #[must_use]
    pub fn in_memory(mut self, yes: bool) -> Builder {
        self.in_memory = yes;
        self
    }

    /// Whether committed data survive a crash of the machine. By default a named folder does and a
    /// temporary one does not. A crash of the server alone loses nothing either way.
    #[must_use]
    pub fn durable(mut self, yes: bool) -> Builder {
        self.durable = Some(yes);
        self
    }

    /// A setting of the server, as `-c name=value`. Those that Plinth needs for itself (`port` and
    /// the like) are refused at start.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The server programs; by default those of [`Binaries::find`].
    #[must_use]
    pub fn binaries(mut self, binaries: Binaries) -> Builder {
        self.binaries = Some(binaries);
        self
    }

    /// Listens on 127.0.0.1 as well, on a free port, with a new password for the role `postgres`:
    /// see [`Server::tcp_url`]. The socket never asks for one.
    #[must_use]
    pub fn tcp(mut self, yes: bool) -> Builder {
        self.tcp = yes;
        self
    }

    /// Starts the server and waits until it accepts connections, at most 30 s. Blocks the thread.
    ///
    /// Also removes what earlier processes left behind when they were killed: temporary folders,
    /// and servers in them.
    pub fn start(self) -> Result<Server, EmbeddedError> {
        let began = Instant::now();
        let mut settings = Vec::new();
        let durable = self.durable.unwrap_or(self.data.is_some());
        if !durable {
            for name in ["fsync", "synchronous_commit", "full_page_writes"] {
                settings.push((name.to_owned(), "off".to_owned()));
            }
        }
        for (name, value) in self.settings {
            check(&name)?;
            settings.push((name, value));
        }

        let account = Account::choose()?;
        let binaries = self.binaries.map_or_else(Binaries::find, Ok)?;
        for base in data::temporary_bases() {
            sweep(&base);
        }
        let (data, account) = match self.data {
            Some(folder) => Data::named(&folder, &binaries, &account, durable)?,
            None => (Data::temporary(&binaries, &account, self.in_memory, durable)?, account),
        };
        let server = Server::launch(binaries, account, data, settings, self.tcp)?;
        let milliseconds = began.elapsed().as_millis();
        tracing::info!(pid = server.pid(), data = %server.data().display(), milliseconds, "PostgreSQL started");
        Ok(server)
    }
}

fn check(name: &str) -> Result<(), EmbeddedError> {
    let reason = if OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name)) {
        "the embedded server sets it itself"
    } else if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.') {
        "its name is not one of a setting"
    } else {
        return Ok(());
    };
    Err(EmbeddedError::Setting { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn settings_that_the_server_relies_on_are_refused() {
        assert!(check("work_mem").is_ok() && check("plpgsql.extra_errors").is_ok());
        assert!(check("Port").is_err() && check("a=b").is_err() && check("").is_err());
    }
}
