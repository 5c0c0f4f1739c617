//! Sockets to the database for a process that may open none: another process connects and hands them over.
//!
//! The one that borrows says which of the database's servers it wants, by its number; it has no way to name another. What it gets
//! is a socket that is connected. Each message is one packet of a SEQPACKET socket between the two.

use super::server::{Server, Socket};
use nix::libc;
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Mutex,
};
use tokio_seqpacket::{
    UnixSeqpacket,
    ancillary::{AncillaryMessageWriter, OwnedAncillaryMessage},
};

/// The most of a message: a number, or why there is no socket.
const MESSAGE: usize = 512;
/// Room for what goes with a message: one socket.
const BESIDE: usize = 64;

/// The two ends: of the one that lends, and of the one that borrows.
pub(crate) fn ends() -> io::Result<(UnixSeqpacket, OwnedFd)> {
    UnixSeqpacket::pair().map(|(ours, theirs)| (ours, theirs.into()))
}

/// Lends sockets to some servers until the other end is closed. What is no number of them is refused.
pub(crate) async fn lend(end: UnixSeqpacket, servers: Vec<Server>, patience: Duration) -> io::Result<()> {
    loop {
        let (asked, _) = receive(&end).await?;
        if asked.is_empty() {
            return Ok(());
        }
        let server = <[u8; 2]>::try_from(asked.as_slice()).ok().map(u16::from_be_bytes);
        let opened = match server.and_then(|number| servers.get(usize::from(number))) {
            Some(server) => match tokio::time::timeout(patience, server.open()).await {
                Ok(opened) => opened.and_then(handed_over),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
            None => Err(io::ErrorKind::PermissionDenied.into()),
        };
        match opened {
            Ok(socket) => send(&end, &[], Some(&socket)).await?,
            Err(error) => send(&end, told(&error).as_bytes(), None).await?,
        }
    }
}

fn handed_over(socket: Socket) -> io::Result<OwnedFd> {
    Ok(match socket {
        Socket::Tcp(socket) => socket.into_std()?.into(),
        Socket::Unix(socket) => socket.into_std()?.into(),
    })
}

/// An error as a text that the other end makes the same one of, if the system gave it a number.
fn told(error: &io::Error) -> String {
    let mut text = match error.raw_os_error() {
        Some(code) => format!("{code}"),
        None if error.kind() == io::ErrorKind::TimedOut => libc::ETIMEDOUT.to_string(),
        None => error.to_string(),
    };
    text.truncate(text.floor_char_boundary(MESSAGE));
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// The end of the one that borrows.
#[derive(Debug)]
pub(crate) struct Lender {
    /// One request at a time.
    end: Arc<Mutex<UnixSeqpacket>>,
    servers: Vec<Server>,
}

impl Lender {
    /// Borrows by an end of a pair. The servers are those that the other end lends, in the same order.
    ///
    /// # Errors
    ///
    /// If the end cannot be waited on.
    pub(crate) fn new(end: OwnedFd, servers: Vec<Server>) -> io::Result<Lender> {
        Ok(Lender { end: Arc::new(Mutex::new(UnixSeqpacket::try_from(end)?)), servers })
    }

    /// A socket to a server.
    pub(super) async fn lend(&self, server: &Server) -> io::Result<Socket> {
        let number = self.servers.iter().position(|known| known == server).and_then(|place| u16::try_from(place).ok());
        let number = number.ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
        let end = self.end.clone();
        // To its end, even if nobody waits for it any more: the next answer is that of the next request.
        let asked = tokio::spawn(async move {
            let end = end.lock().await;
            send(&end, &number.to_be_bytes(), None).await?;
            receive(&end).await
        });
        match asked.await.map_err(io::Error::other)?? {
            (_, Some(socket)) if server.is_tcp() => {
                let socket = std::net::TcpStream::from(socket);
                socket.set_nonblocking(true)?;
                TcpStream::from_std(socket).map(Socket::Tcp)
            }
            (_, Some(socket)) => {
                let socket = std::os::unix::net::UnixStream::from(socket);
                socket.set_nonblocking(true)?;
                UnixStream::from_std(socket).map(Socket::Unix)
            }
            (text, None) if text.is_empty() => Err(io::Error::other("the outer process is gone")),
            (text, None) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                Err(text.parse().map_or_else(|_| io::Error::other(text.clone()), io::Error::from_raw_os_error))
            }
        }
    }
}

async fn send(end: &UnixSeqpacket, bytes: &[u8], socket: Option<&OwnedFd>) -> io::Result<()> {
    // By the plain call, if there is no socket to hand over: the one that borrows has no other.
    let Some(socket) = socket else { return end.send(bytes).await.map(drop) };
    let mut room = [0; BESIDE];
    let mut beside = AncillaryMessageWriter::new(&mut room);
    beside.add_fds([socket.as_fd()]).map_err(io::Error::other)?;
    // A packet of no bytes would be taken for the end.
    end.send_with_ancillary(&[0], &mut beside).await.map(drop)
}

/// A message, and the socket that came with it. Empty without one at the end.
async fn receive(end: &UnixSeqpacket) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut bytes, mut room) = ([0; MESSAGE], [0; BESIDE]);
    let (message, beside) = end.recv_with_ancillary(&mut bytes, &mut room).await?;
    let socket = beside.into_messages().find_map(|message| match message {
        OwnedAncillaryMessage::FileDescriptors(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok((bytes.get(..message.bytes_read()).unwrap_or_default().to_vec(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_postgres::config::Host;

    fn server(port: u16) -> Server {
        Server { host: Host::Tcp("127.0.0.1".into()), address: None, port }
    }

    #[tokio::test]
    async fn a_socket_is_lent_to_the_servers_of_the_database_and_to_no_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = (server(listener.local_addr().unwrap().port()), server(other.local_addr().unwrap().port()));
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            server(gone.local_addr().unwrap().port())
        };
        let (one, two) = ends().unwrap();
        let servers = vec![ours.clone(), closed.clone()];
        let lending = tokio::spawn(lend(one, servers.clone(), Duration::from_secs(5)));
        let lender = Lender::new(two, servers).unwrap();
        let Socket::Tcp(mut socket) = lender.lend(&ours).await.unwrap() else { panic!("it is no file") };
        let (mut accepted, _) = listener.accept().await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        let kind = |error: io::Result<Socket>| error.map(drop).unwrap_err().kind();
        assert_eq!(kind(lender.lend(&closed).await), io::ErrorKind::ConnectionRefused, "the error is the system's own");
        assert_eq!(kind(lender.lend(&theirs).await), io::ErrorKind::PermissionDenied);
        // Nor does the one that lends believe what it is asked for.
        for asked in [&[0, 7][..], &[0], &[0xff; 100]] {
            let end = lender.end.lock().await;
            send(&end, asked, None).await.unwrap();
            let (text, socket) = receive(&end).await.unwrap();
            assert!(socket.is_none() && !text.is_empty(), "{asked:?}");
        }
        let Socket::Tcp(_) = lender.lend(&ours).await.unwrap() else { panic!("it goes on") };
        drop(lender);
        lending.await.unwrap().unwrap();
    }
}
