//! A running server.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::account::Account;
use super::binaries::Binaries;
use super::builder::Builder;
use super::data::{self, Data};
use super::error::{EmbeddedError, io_error};
use super::log::Log;
use super::postmaster;
use super::process::{POLL, Process, Shutdown};
use super::scratch::Scratch;
use super::{tcp, url};

/// A start takes 30 ms, after a crash with much to recover many times that; a machine under load
/// more again.
const START: Duration = Duration::from_secs(30);

/// A checkpoint of a large server may take a while, and being killed costs only a recovery.
const STOP: Duration = Duration::from_secs(30);

/// The socket's path may have 107 bytes and TMPDIR is sometimes long, so the socket is always here.
const SOCKETS: &str = "/tmp";

/// Without TCP the port is only a part of the socket's name.
const PORT: u16 = 5432;

/// Another program may take the free port before the server does.
const PORT_ATTEMPTS: u32 = 3;

/// When only the postmaster was killed, its backends finish their statements before they notice, and until then PostgreSQL
/// refuses to start there: together these wait three seconds.
const UNCLEAN_ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);

/// Lines of the server's log in an error.
const LINES: usize = 20;

/// Whoever can enter the socket's folder, which is ours alone, is `postgres`; TCP needs the
/// password.
const HBA: &str = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A PostgreSQL server that lives as long as this value, and never longer than this process.
///
/// Dropping it stops the server quietly; [`Server::stop`] does the same and tells of errors.
pub struct Server {
    // Fields are dropped in this order: the server first, then the folders.
    process: Option<Process>,
    data: Data,
    run: Scratch,
    sockets: PathBuf,
    log: Log,
    binaries: Binaries,
    account: Account,
    settings: Vec<(String, String)>,
    port: u16,
    /// Only with TCP.
    password: Option<String>,
}

impl Server {
    /// Choices for a new server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn launch(
        binaries: Binaries,
        account: Account,
        data: Data,
        settings: Vec<(String, String)>,
        with_tcp: bool,
    ) -> Result<Server, EmbeddedError> {
        let run = Scratch::new(Path::new(SOCKETS), &account)?;
        let sockets = run.private("s", &account)?;
        let hba = run.path().join("hba.conf");
        fs::write(&hba, HBA).map_err(io_error("write", &hba))?;
        account.own(&hba)?;
        let log = Log::new(match &data {
            Data::Named { folder, .. } => data::log_path(folder),
            Data::Temporary { .. } => run.path().join("log"),
        });
        let password = if with_tcp { Some(tcp::set_password(&binaries, &account, data.folder())?) } else { None };
        let mut server = Server { process: None, data, run, sockets, log, binaries, account, settings, port: PORT, password };
        server.launch_process(true)?;
        Ok(server)
    }

    /// The URL of a database, over the socket, as `tokio_postgres::Config` and libpq read it. There
    /// is always a database `postgres`.
    ///
    /// ```no_run
    /// # use plinth_embedded::Server;
    /// # let server = Server::builder().start()?;
    /// let url = server.url("app"); // postgresql:///app?host=%2Ftmp%2Fplinth-pg-…%2Fs&port=5432&user=postgres
    /// # Ok::<(), plinth_embedded::EmbeddedError>(())
    /// ```
    pub fn url(&self, database: &str) -> String {
        url::socket(database, &self.sockets, self.port)
    }

    /// The URL of a database over TCP, with the password, if the server was built with
    /// [`Builder::tcp`].
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = self.password.as_deref()?;
        Some(url::tcp(database, tcp::address(self.port), password))
    }

    /// Where the server listens over TCP, if it does.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.password.is_some().then(|| tcp::address(self.port))
    }

    /// The password of the role `postgres`, which TCP asks for and the socket does not; none
    /// without TCP.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The folder of the unix socket: what libpq and `tokio_postgres::Config::host_path` call the
    /// host.
    pub fn socket_folder(&self) -> &Path {
        &self.sockets
    }

    /// The port, which is also a part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser: always `postgres`.
    pub fn user(&self) -> &'static str {
        "postgres"
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.folder()
    }

    /// The programs that run.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The process id of the server (of the postmaster), if it was not stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The file that the server's messages go to.
    pub fn log(&self) -> &Path {
        self.log.path()
    }

    /// The last lines that the server wrote to its log since its last start.
    pub fn log_tail(&self, lines: usize) -> String {
        self.log.tail(lines)
    }

    /// Stops the server: everybody is disconnected, a checkpoint is written, a temporary data
    /// folder is removed.
    ///
    /// A server that ended by itself earlier is no error. One that does not stop within 30 s is
    /// killed, which is.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.end(Shutdown::Fast)
    }

    /// Ends the server at once and without a checkpoint, as a crash would. [`Server::restart`] then
    /// recovers.
    pub fn kill_immediate(&mut self) -> Result<(), EmbeddedError> {
        self.end(Shutdown::Immediate)
    }

    /// Starts the server again on the same data folder, after a fast shutdown if it still runs. All
    /// URLs stay valid.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.end(Shutdown::Fast)?;
        self.launch_process(false)
    }

    fn end(&mut self, how: Shutdown) -> Result<(), EmbeddedError> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let in_time = process.stop(how, STOP).map_err(io_error("stop the server in", self.data.folder()))?;
        if in_time {
            return Ok(());
        }
        Err(EmbeddedError::NotStopped { seconds: STOP.as_secs(), log: self.log_tail(LINES) })
    }

    /// Starts the process. `fresh`: its port is not known to anybody yet.
    fn launch_process(&mut self, fresh: bool) -> Result<(), EmbeddedError> {
        // A server that stops, and be it at once, removes this file.
        let unclean = self.data.folder().join("postmaster.pid").exists();
        let new_port = fresh && self.password.is_some();
        let attempts = match (unclean, new_port) {
            (true, _) => UNCLEAN_ATTEMPTS,
            (false, true) => PORT_ATTEMPTS,
            (false, false) => 1,
        };
        for attempt in 1.. {
            if new_port {
                self.port = tcp::free_port().map_err(io_error("find a free port on", Path::new("127.0.0.1")))?;
            }
            match self.try_launch() {
                Err(EmbeddedError::Exited { status, .. }) if attempt < attempts => {
                    tracing::debug!(attempt, status, "PostgreSQL did not start; trying again");
                    sleep(BETWEEN_ATTEMPTS);
                }
                other => return other,
            }
        }
        Ok(())
    }

    fn try_launch(&mut self) -> Result<(), EmbeddedError> {
        let log = self.log.open().map_err(io_error("open the log", self.log.path()))?;
        let command = self.command();
        let mut process =
            Process::spawn(&self.account, &command, log).map_err(io_error("start", &self.binaries.folder().join("postgres")))?;
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = process.ended().map_err(io_error("wait for the server in", self.data.folder()))? {
                return Err(EmbeddedError::Exited { status: status.to_string(), log: self.log_tail(LINES) });
            }
            if postmaster::read(self.data.folder()).is_some_and(|file| file.ready && file.pid == process.pid()) {
                self.process = Some(process);
                return Ok(());
            }
            if Instant::now() >= deadline {
                let _ = process.stop(Shutdown::Immediate, Duration::from_secs(5));
                return Err(EmbeddedError::NotReady { seconds: START.as_secs(), log: self.log_tail(LINES) });
            }
            sleep(POLL);
        }
    }

    fn command(&self) -> Command {
        let mut command = self.binaries.command(&self.account, "postgres");
        command.arg("-D").arg(self.data.folder());
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        for (name, value) in &self.settings {
            set(name, value);
        }
        // Last, so that they win over the data folder's own configuration and the settings above.
        set("port", &self.port.to_string());
        set("listen_addresses", if self.password.is_some() { "127.0.0.1" } else { "" });
        set("unix_socket_directories", &self.sockets.to_string_lossy());
        set("hba_file", &self.run.path().join("hba.conf").to_string_lossy());
        set("password_encryption", "scram-sha-256");
        set("logging_collector", "off");
        set("log_destination", "stderr");
        command
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Server")
            .field("pid", &self.pid())
            .field("data", &self.data())
            .field("socket_folder", &self.socket_folder())
            .field("port", &self.port)
            .field("binaries", &self.binaries)
            .finish_non_exhaustive()
    }
}
