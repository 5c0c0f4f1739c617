//! A server of an address, and the sockets that lead to it.

use super::SILENCE;
#[cfg(feature = "cli")]
use super::lent::Lender;
use socket2::TcpKeepalive;
#[cfg(feature = "cli")]
use std::sync::Arc;
use std::{fmt, io};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::{Config, config::Host};

/// One server of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(super) host: Host,
    pub(super) address: Option<String>,
    pub(super) port: u16,
}

/// A socket that is connected.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where sockets come from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Sockets {
    /// This process opens them.
    #[default]
    Ours,
    /// This process may not: another one opens them and hands them over.
    #[cfg(feature = "cli")]
    Lent(Arc<Lender>),
}

impl Sockets {
    /// A socket to a server.
    pub(super) async fn open(&self, server: &Server) -> io::Result<Socket> {
        match self {
            Sockets::Ours => server.open().await,
            #[cfg(feature = "cli")]
            Sockets::Lent(lender) => lender.lend(server).await,
        }
    }
}

impl Server {
    /// The servers of an address, in its order.
    pub(super) fn all(config: &Config) -> Vec<Server> {
        let ports = config.get_ports();
        let server = |(place, host): (usize, &Host)| Server {
            host: host.clone(),
            address: config.get_hostaddrs().get(place).map(ToString::to_string),
            port: ports.get(place).or(ports.first()).copied().unwrap_or(5432),
        };
        config.get_hosts().iter().enumerate().map(server).collect()
    }

    /// Connects.
    pub(super) async fn open(&self) -> io::Result<Socket> {
        match (&self.host, &self.address) {
            (Host::Unix(folder), None) => {
                UnixStream::connect(folder.join(format!(".s.PGSQL.{}", self.port))).await.map(Socket::Unix)
            }
            (Host::Tcp(name), None) => tcp(name, self.port).await,
            (_, Some(address)) => tcp(address, self.port).await,
        }
    }

    /// Whether it is reached over the network.
    #[cfg(feature = "cli")]
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.host, Host::Tcp(_)) || self.address.is_some()
    }
}

async fn tcp(name: &str, port: u16) -> io::Result<Socket> {
    let socket = TcpStream::connect((name, port)).await?;
    // The protocol sends small messages and waits: Nagle's algorithm would hold them back.
    socket.set_nodelay(true)?;
    // A server that went away without a word is noticed within half a minute, also while nothing is to be sent.
    let options = socket2::SockRef::from(&socket);
    let alive = TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 6).with_retries(3);
    options.set_tcp_keepalive(&alive)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(SILENCE))?;
    Ok(Socket::Tcp(socket))
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(folder) => write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port),
        }
    }
}
