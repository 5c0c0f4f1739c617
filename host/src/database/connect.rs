//! Connections to the server.

#[cfg(feature = "cli")]
use super::lent::Lender;
use super::{
    SILENCE,
    around::HOST_PATH,
    backend,
    round_trips::{Counted, RoundTrips},
    server::{Server, Socket, Sockets},
    tls::{self, Encrypted, Verify},
    url,
};
use futures_util::{FutureExt, future::Either};
use rustls::ClientConfig;
use std::{
    io,
    path::PathBuf,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::OnceCell, task::AbortHandle};
use tokio_postgres::{
    AsyncMessage, Client, Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a connection takes at most, unless the address says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a statement of the host's own takes at most. The server's `statement_timeout` comes first, as long as it answers.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A database: where it is and how to get in. Cheap to clone; connects nowhere until a boot does.
///
/// ```
/// let database = plinth::Database::from_url("postgres://api@localhost/shop?sslmode=require")?;
/// # Ok::<(), plinth::ConnectError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    config: Config,
    verify: Verify,
    root_certificate: Option<PathBuf>,
    fixed: bool,
    sockets: Sockets,
    /// TLS, if it was made ready.
    tls: Option<Arc<ClientConfig>>,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none. It reads `postgres://user:password@host/database` or `host=… dbname=…`.
    #[error("the database's address cannot be read: {0} (it reads like postgres://user:password@host/database)")]
    Address(#[source] tokio_postgres::Error),
    /// The certificates to verify the server with cannot be used.
    #[error("TLS: {0}")]
    Certificates(String),
    /// A host could not be reached.
    #[error("no server answers at {host}: {source}")]
    Unreachable {
        /// The host and port, or the socket.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The server answered and did not let us in.
    #[error("the server at {host} refused the connection: {}", reason(source))]
    Refused {
        /// The host and port, or the socket.
        host: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// The server does not write.
    #[error("the server at {host} {}", if *.recovery {
        "is in recovery: it is a standby, or a primary that is not up yet; give the address of the primary"
    } else {
        "is read-only: default_transaction_read_only is on, for the server, the database or the role"
    })]
    ReadOnly {
        /// The host and port, or the socket.
        host: String,
        /// Whether it is a standby, or recovers from a crash.
        recovery: bool,
    },
    /// The address names no host.
    #[error("the database's address names no host")]
    NoHost,
}

/// What the server said, without the client's words around it.
fn reason(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}

impl Database {
    /// A database by its address: a URL or `key=value` words, as libpq reads them, with `sslmode` and `sslrootcert`.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Address`] if it is neither.
    pub fn from_url(address: &str) -> Result<Database, ConnectError> {
        let taken = url::take_tls(address);
        let config = taken.rest.parse::<Config>().map_err(ConnectError::Address)?;
        let verify = taken.verify.unwrap_or(Verify::Nothing);
        Ok(Database {
            config,
            verify,
            root_certificate: taken.root_certificate,
            fixed: false,
            sockets: Sockets::default(),
            tls: None,
        })
    }

    /// The name of the database, as far as the address says it.
    pub fn name(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("")
    }

    /// The role that it is reached as, as far as the address says it.
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// The servers of the address.
    pub(crate) fn servers(&self) -> Vec<Server> {
        Server::all(&self.config)
    }

    /// How long a connection may take to come about.
    pub(crate) fn patience(&self) -> Duration {
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT)
    }

    /// The same, reached by sockets that another process opens.
    #[cfg(feature = "cli")]
    pub(crate) fn lent_by(&self, lender: &Arc<Lender>) -> Database {
        Database { sockets: Sockets::Lent(lender.clone()), ..self.clone() }
    }

    /// The same, with all read that TLS needs: connecting opens no file any more.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Certificates`].
    #[cfg(feature = "cli")]
    pub(crate) fn ready(self) -> Result<Database, ConnectError> {
        let tls = if self.servers().iter().any(Server::is_tcp) { Some(Arc::new(self.tls_config()?)) } else { None };
        Ok(Database { tls, ..self })
    }

    fn tls_config(&self) -> Result<ClientConfig, ConnectError> {
        match &self.tls {
            Some(tls) => Ok(ClientConfig::clone(tls)),
            None => tls::config(self.verify, self.root_certificate.as_deref()).map_err(ConnectError::Certificates),
        }
    }

    /// The password of the address.
    pub(crate) fn password(&self) -> Option<&str> {
        self.config.get_password().and_then(|password| std::str::from_utf8(password).ok())
    }

    /// The same database, reached as another role, without a password: where the server trusts whoever reaches it.
    #[must_use]
    pub fn as_role(&self, role: &str) -> Database {
        let mut other = self.clone();
        other.config.user(role);
        other
    }

    /// The same, whose own statements find PostgreSQL's functions and nobody else's. Said with each string of statements: a pooler
    /// takes no such word when a connection is made, and gives the next statements to another session.
    pub(crate) fn fixed_path(&self) -> Database {
        Database { fixed: true, ..self.clone() }
    }

    /// The address as tokio-postgres has it, and TLS as the address asks for it: for a pool of the API's own, which then connects as
    /// the host does. None instead of TLS if the address is a socket.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Certificates`] if the certificates to verify the server with cannot be used.
    pub fn for_pool(&self) -> Result<(Config, Option<MakeRustlsConnect>), ConnectError> {
        if self.config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
            return Ok((self.config.clone(), None));
        }
        Ok((self.config.clone(), Some(MakeRustlsConnect::new(self.tls_config()?))))
    }

    /// Connects to the first host that answers.
    pub(crate) async fn connect(&self, application: &str) -> Result<Connection, ConnectError> {
        let mut config = self.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(application);
        }
        if config.get_user().is_none() {
            // As libpq does.
            config.user(std::env::var("PGUSER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "postgres".into()));
        }
        let limit = self.patience();
        let mut last = ConnectError::NoHost;
        for server in self.servers() {
            match tokio::time::timeout(limit, self.connect_to(&config, server.clone())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = ConnectError::Unreachable { host: server.to_string(), source: io::ErrorKind::TimedOut.into() },
            }
        }
        Err(last)
    }

    async fn connect_to(&self, config: &Config, server: Server) -> Result<Connection, ConnectError> {
        let host = server.to_string();
        let refused = |source| ConnectError::Refused { host: host.clone(), source };
        let trips = RoundTrips::default();
        let (client, driver, version) =
            match self.sockets.open(&server).await.map_err(|source| ConnectError::Unreachable { host: host.clone(), source })? {
                Socket::Unix(socket) => {
                    let mut plain = config.clone();
                    plain.ssl_mode(SslMode::Disable);
                    let (client, connection) =
                        plain.connect_raw(Counted::new(socket, trips.clone()), NoTls).await.map_err(refused)?;
                    let version = connection.parameter("server_version").map(str::to_owned);
                    (client, tokio::spawn(drive(connection, trips.clone())), version)
                }
                Socket::Tcp(socket) => {
                    let tls = self.tls(&server)?;
                    let (client, connection) =
                        config.connect_raw(Counted::new(socket, trips.clone()), tls).await.map_err(refused)?;
                    let version = connection.parameter("server_version").map(str::to_owned);
                    (client, tokio::spawn(drive(connection, trips.clone())), version)
                }
            };
        trips.tell_columns();
        if self.config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            let ask = "select pg_is_in_recovery(); show transaction_read_only";
            let sets = super::ResultSets::of(&client, ask).await.map_err(refused)?;
            if sets.value() == Some("on") {
                let recovery = sets.set_from_end(1).first().and_then(|row| super::simple::text(row, 0)) == Some("t");
                return Err(ConnectError::ReadOnly { host, recovery });
            }
        }
        trips.reset();
        let driver = driver.abort_handle();
        let major = version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        Ok(Connection {
            client,
            driver,
            trips,
            database: self.clone(),
            server,
            process: OnceCell::new(),
            major: major.unwrap_or_default(),
            counts_from_nothing: AtomicBool::new(true),
            asked: Mutex::default(),
        })
    }

    fn tls(&self, server: &Server) -> Result<Encrypted, ConnectError> {
        let name = match &server.host {
            Host::Tcp(name) => name.as_str(),
            Host::Unix(_) => "",
        };
        Encrypted::to(name, self.tls_config()?).map_err(|error| ConnectError::Certificates(error.to_string()))
    }
}

/// Moves a connection's bytes until either side closes it, or it brings too many notices. They are kept nowhere.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, trips: RoundTrips)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(_)) if !trips.noticed() => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = %crate::database_reason(&error), "a connection ended");
                return;
            }
        }
    }
}

impl From<Config> for Database {
    fn from(config: Config) -> Database {
        Database { config, verify: Verify::Nothing, root_certificate: None, fixed: false, sockets: Sockets::default(), tls: None }
    }
}

/// A connection. Dropped, it closes, and the server rolls back and releases what it held.
pub(crate) struct Connection {
    client: Client,
    driver: AbortHandle,
    trips: RoundTrips,
    database: Database,
    server: Server,
    process: OnceCell<Option<i32>>,
    /// The server's major version.
    major: u32,
    counts_from_nothing: AtomicBool,
    asked: Mutex<Vec<String>>,
}

/// The answer to what was sent.
pub(crate) type Sent = Ahead<Result<super::ResultSets, tokio_postgres::Error>>;

/// Something that is on its way.
pub(crate) type Ahead<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Has something sent at once. What it is answered then is an error, and kept.
pub(crate) fn ahead<T: Send + 'static>(sends: impl Future<Output = T> + Send + 'static) -> Ahead<T> {
    let mut sent: Ahead<T> = Box::pin(sends);
    // Asked once, it sends.
    match sent.as_mut().now_or_never() {
        Some(answered) => Box::pin(std::future::ready(answered)),
        None => sent,
    }
}

impl Connection {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the server can be asked to flush the session's counters: since version 15.
    pub(crate) fn flushes(&self) -> bool {
        self.major >= 15
    }

    /// Whether the session's counters of changed rows hold nothing of an earlier block: none ran, or they were flushed since.
    pub(crate) fn counts_from_nothing(&self) -> bool {
        self.counts_from_nothing.load(Ordering::Relaxed)
    }

    /// A block runs now.
    pub(crate) fn counts(&self) {
        self.counts_from_nothing.store(false, Ordering::Relaxed);
    }

    /// The session was [tidied](Connection::tidy).
    pub(crate) fn tidied(&self) {
        self.counts_from_nothing.store(self.flushes(), Ordering::Relaxed);
    }

    /// The names of the host's questions that are prepared in this session.
    pub(super) fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes to the servers of another address, or of the same for another role.
    pub(crate) fn is_at(&self, database: &Database) -> bool {
        let place = |config: &Config| (config.get_hosts().to_vec(), config.get_hostaddrs().to_vec(), config.get_ports().to_vec());
        place(&self.database.config) == place(&database.config)
    }

    /// Round trips since it was opened.
    pub(crate) fn trips(&self) -> &RoundTrips {
        &self.trips
    }

    /// Sends a string of the host's own statements. A server that does not answer for very long counts as gone.
    pub(crate) async fn send(&self, statements: &str) -> Result<super::ResultSets, tokio_postgres::Error> {
        self.within(PATIENCE, statements).await
    }

    /// The same for statements that wait for nobody: a server that is silent for half a minute counts as gone.
    pub(crate) async fn ask(&self, statements: &str) -> Result<super::ResultSets, tokio_postgres::Error> {
        self.within(SILENCE, statements).await
    }

    /// Sends statements as [`Connection::send`] does, at once, so that what is sent next rides with them. Their answer is to be waited for
    /// before that of anything later: the client keeps a little of an answer, and then reads no further until somebody takes it.
    pub(crate) fn send_ahead(self: &Arc<Self>, statements: String) -> Sent {
        let connection = self.clone();
        ahead(async move { connection.send(&statements).await })
    }

    /// The same with an answer that is taken when it comes, by a task of its own: what is sent later may be waited for before.
    pub(crate) fn send_aside(self: &Arc<Self>, statements: String) -> Sent {
        let (taking, taken) = self.send_ahead(statements).remote_handle();
        tokio::spawn(taking);
        Box::pin(taken)
    }

    /// Has what was sent leave before anything else is done: it is another task that writes, on the same thread.
    pub(crate) async fn leaves() {
        tokio::task::yield_now().await;
    }

    /// Sends statements, and has `work` send its own behind them without waiting for their answer, which is taken meanwhile. If `work`
    /// fails before there is one, it may be none. `longer` is what those sent before may take.
    pub(crate) async fn send_before<T, E>(
        &self,
        longer: Duration,
        statements: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> (Option<Result<super::ResultSets, tokio_postgres::Error>>, Result<T, E>) {
        // What is polled first is sent first.
        let work = pin!(async {
            Self::leaves().await;
            work.await
        });
        match futures_util::future::select(pin!(self.within(PATIENCE + longer, statements)), work).await {
            Either::Left((answer, work)) => (Some(answer), work.await),
            Either::Right((Ok(done), answer)) => (Some(answer.await), Ok(done)),
            Either::Right((Err(error), answer)) => (answer.now_or_never(), Err(error)),
        }
    }

    /// The rows of a table of the host's own, as [`Connection::ask`]: by COPY, which in a new session costs a third of a SELECT.
    pub(crate) async fn table(&self, table: &str) -> Result<super::ResultSets, tokio_postgres::Error> {
        self.trips.tell_copies_as_rows(true);
        let rows = self.ask(&format!("copy {table} to stdout")).await;
        self.trips.tell_copies_as_rows(false);
        rows
    }

    async fn within(&self, patience: Duration, statements: &str) -> Result<super::ResultSets, tokio_postgres::Error> {
        let fixed = self.database.fixed.then(|| format!("{HOST_PATH}; {statements}"));
        let mut answer = pin!(super::ResultSets::of(&self.client, fixed.as_deref().unwrap_or(statements)));
        let answered = match tokio::time::timeout(patience, &mut answer).await {
            Ok(answered) => answered,
            Err(_) => {
                self.give_up();
                answer.await
            }
        };
        Ok(if fixed.is_some() { answered?.without_first() } else { answered? })
    }

    /// Closes the connection without a word to the server. Whoever waits for an answer gets an error.
    pub(crate) fn give_up(&self) {
        self.driver.abort();
    }

    /// The server that was connected to, as errors name it.
    pub(crate) fn server(&self) -> String {
        self.server.to_string()
    }

    /// The process at the other end, as it said when the connection came about. Behind a pooler that is none of the server's.
    ///
    /// tokio-postgres keeps the number to itself, but for a request to cancel: this reads one that is sent to nobody.
    pub(crate) async fn process(&self) -> Option<i32> {
        *self.process.get_or_init(|| async { backend::process(&self.client.cancel_token()).await }).await
    }

    /// Where it leads to.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// What can cancel the statement that runs, from outside.
    pub(crate) fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), database: self.database.clone(), server: self.server.clone() }
    }
}

/// Cancels the statement that a connection runs, over a connection of its own.
#[derive(Clone)]
pub(crate) struct Canceller {
    token: tokio_postgres::CancelToken,
    database: Database,
    server: Server,
}

impl Canceller {
    /// Asks the server to cancel. That it was asked does not mean that it did.
    pub(crate) async fn cancel(&self) {
        let asked = async {
            match self.database.sockets.open(&self.server).await? {
                Socket::Unix(socket) => self.token.cancel_query_raw(socket, NoTls).await.map_err(io::Error::other),
                Socket::Tcp(socket) => {
                    let tls = self.database.tls(&self.server).map_err(io::Error::other)?;
                    let counted = Counted::new(socket, RoundTrips::default());
                    self.token.cancel_query_raw(counted, tls).await.map_err(io::Error::other)
                }
            }
        };
        if let Ok(Err(error)) | Err(error) = tokio::time::timeout(Duration::from_secs(5), asked).await.map_err(io::Error::from) {
            tracing::warn!(%error, "the server could not be asked to cancel");
        }
    }
}
