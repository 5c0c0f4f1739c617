//! Counts how often a client waits for the server, by standing between them: a message to the client after one to the
//! server is one round trip.

use crate::subjects::Socket;
use anyhow::Result;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

pub struct Proxy {
    folder: TempDir,
    trips: Arc<AtomicU64>,
}

impl Proxy {
    pub fn start(server: &Socket) -> Result<Proxy> {
        let proxy = Proxy { folder: TempDir::new()?, trips: Arc::default() };
        let listener = UnixListener::bind(proxy.socket().file())?;
        let (server, trips) = (server.file(), proxy.trips.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let asked = Arc::new(AtomicBool::new(false));
                let (asking, trips) = (asked.clone(), trips.clone());
                tokio::spawn(pass(from_client, to_server, move || asking.store(true, Ordering::SeqCst)));
                tokio::spawn(pass(from_server, to_client, move || {
                    if asked.swap(false, Ordering::SeqCst) {
                        trips.fetch_add(1, Ordering::SeqCst);
                    }
                }));
            }
        });
        Ok(proxy)
    }

    pub fn socket(&self) -> Socket {
        Socket(self.folder.path().to_owned())
    }

    /// Round trips since it was asked last.
    pub fn take(&self) -> u64 {
        self.trips.swap(0, Ordering::SeqCst)
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, seen: impl Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        // Before it is passed on: the answer may be quicker than we are.
        seen();
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
