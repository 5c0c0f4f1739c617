//! A server that is further away: what passes in either direction comes later.

use crate::subjects::Socket;
use anyhow::Result;
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a message takes to a server that is not on this machine, one way: a millisecond there and back, as between two zones of a region.
pub const WAY: Duration = Duration::from_micros(500);

pub struct Far(TempDir);

impl Far {
    /// Each message takes this long in addition. Threads wait for it, since a runtime's clock knows only whole milliseconds.
    pub fn start(server: &Socket, way: Duration) -> Result<Far> {
        let far = Far(TempDir::new()?);
        let listener = UnixListener::bind(far.socket().file())?;
        let server = server.file();
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = UnixStream::connect(&server) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                pass(from_client, to_server, way);
                pass(server, client, way);
            }
        });
        Ok(far)
    }

    pub fn socket(&self) -> Socket {
        Socket(self.0.path().to_owned())
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, way: Duration) {
    let (under_way, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if under_way.send((Instant::now() + way, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((at, bytes)) = arrives.recv() {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
