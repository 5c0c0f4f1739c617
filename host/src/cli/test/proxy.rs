//! Stands between a host and its server, counts the answers, and can keep one back for ever: the moment to kill the host.
//!
//! The server has done what the answer is about, and the host never learns it. Killed at every answer, a boot is killed after every
//! statement, its own and the block's, COMMIT included; before a statement is after the one before.

use anyhow::Context;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::{Barrier, Notify},
    task::JoinSet,
};

/// The part of the socket's name that is the port.
pub(super) const PORT: u16 = 5432;

/// A way to the server for one host.
pub(super) struct Proxy {
    folder: TempDir,
    seen: Arc<Seen>,
    /// Ends the connections when it is dropped.
    _serving: JoinSet<()>,
}

/// What passed by.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    /// The answer that is kept back, counted from 1.
    keep: Option<u64>,
    kept: Notify,
    statements: Mutex<Vec<String>>,
    /// Hosts that are to start at the same moment wait here, once each.
    start: Option<Arc<Barrier>>,
}

impl Proxy {
    /// Listens. `keep` is the number of the answer that is kept back.
    pub(super) fn start(server: &Path, keep: Option<u64>, start: Option<Arc<Barrier>>) -> anyhow::Result<Proxy> {
        // A socket's path may have 107 bytes, and TMPDIR is sometimes long.
        let folder = tempfile::Builder::new().prefix("plinth-test-").tempdir_in("/tmp").context("/tmp")?;
        let listener = UnixListener::bind(socket(folder.path())).context("a socket in /tmp")?;
        let seen = Arc::new(Seen { keep, start, ..Seen::default() });
        let (server, seeing) = (socket(server), seen.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            let mut first = true;
            while let Ok((client, _)) = listener.accept().await {
                let waits = std::mem::take(&mut first).then(|| seeing.start.clone()).flatten();
                connections.spawn(serve(client, server.clone(), seeing.clone(), waits));
            }
        });
        Ok(Proxy { folder, seen, _serving: serving })
    }

    /// The folder of its socket, which is what libpq calls the host.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many answers passed.
    pub(super) fn answers(&self) -> u64 {
        self.seen.answers.load(Ordering::SeqCst)
    }

    /// Waits until the answer came that is kept back.
    pub(super) async fn kept(&self) {
        self.seen.kept.notified().await;
    }

    /// The statements that went by with parameters of their own: a block's are all of these, a host's none.
    pub(super) fn statements(&self) -> Vec<String> {
        self.seen.statements.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

async fn serve(client: UnixStream, server: PathBuf, seen: Arc<Seen>, waits: Option<Arc<Barrier>>) {
    let Ok(server) = UnixStream::connect(server).await else { return };
    if let Some(barrier) = waits {
        barrier.wait().await;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Either side that ends, ends the other: a killed host's server process learns of it at once.
    tokio::select! {
        () = ask(from_client, to_server, &seen) => {}
        () = answer(from_server, to_client, &seen) => {}
    }
}

/// One message of the protocol, as it is passed on.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

/// Reads a message. The first that a client sends has no kind.
async fn read(from: &mut OwnedReadHalf, typed: bool) -> Option<Message> {
    let mut bytes = vec![0; if typed { 5 } else { 4 }];
    from.read_exact(&mut bytes).await.ok()?;
    let kind = if typed { *bytes.first()? } else { 0 };
    let length = u32::from_be_bytes(bytes.last_chunk::<4>().copied()?);
    let start = bytes.len();
    bytes.resize(start + usize::try_from(length).ok()?.checked_sub(4)?, 0);
    from.read_exact(bytes.get_mut(start..)?).await.ok()?;
    Some(Message { kind, bytes })
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: &Seen) {
    let mut typed = false;
    while let Some(message) = read(&mut from, typed).await {
        typed = true;
        if message.kind == b'P'
            && let Some(statement) = parsed(&message.bytes)
        {
            seen.statements.lock().unwrap_or_else(PoisonError::into_inner).push(statement);
        }
        if to.write_all(&message.bytes).await.is_err() {
            return;
        }
    }
}

/// The statement of a Parse message: after kind, length and the name that it is prepared under.
fn parsed(bytes: &[u8]) -> Option<String> {
    let mut parts = bytes.get(5..)?.split(|byte| *byte == 0);
    let statement = String::from_utf8_lossy(parts.nth(1)?).into_owned();
    // The client looks types up that it does not know.
    (!statement.contains("pg_catalog.pg_type")).then_some(statement)
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: &Seen) {
    let mut ready = false;
    while let Some(message) = read(&mut from, true).await {
        // The first one ends the start of the connection.
        if message.kind == b'Z' && std::mem::replace(&mut ready, true) {
            let number = seen.answers.fetch_add(1, Ordering::SeqCst) + 1;
            if seen.keep == Some(number) {
                seen.kept.notify_one();
                // Until the proxy is dropped, after the host was killed.
                return std::future::pending().await;
            }
        }
        if to.write_all(&message.bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_of_a_parse_message_is_read() {
        assert_eq!(parsed(b"P\0\0\0\x10s1\0select 1\0\0\0").as_deref(), Some("select 1"));
        assert_eq!(parsed(b"P\0"), None);
        assert_eq!(parsed(b"P\0\0\0\0\0select oid from pg_catalog.pg_type\0"), None);
    }
}
