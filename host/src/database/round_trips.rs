//! How often the server was waited for and how much it sent, counted where the bytes pass and not where somebody remembers to count.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of round trips since it was reset: a read after at least one write is one. And a bound for what an answer may bring.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundTrips(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    trips: AtomicU64,
    /// Bytes since the last write.
    answer: AtomicU64,
    /// The most of them; 0 is no bound.
    most: AtomicU64,
    exceeded: AtomicBool,
    /// Warnings since the bound was set, and the most of them.
    notices: AtomicU64,
    most_notices: AtomicU64,
}

impl RoundTrips {
    pub(crate) fn get(&self) -> u64 {
        self.0.trips.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.0.trips.store(0, Ordering::Relaxed);
    }

    /// From here on the connection breaks if an answer brings more bytes, or all of them together more notices. A row is held
    /// whole before anybody can look at it, so this is the only place that bounds what the host holds.
    pub(crate) fn bound_answers(&self, bytes: u64, notices: u64) {
        self.0.most.store(bytes, Ordering::Relaxed);
        self.0.most_notices.store(notices, Ordering::Relaxed);
        self.0.notices.store(0, Ordering::Relaxed);
    }

    /// Whether an answer had too many bytes.
    pub(crate) fn exceeded(&self) -> bool {
        self.0.exceeded.load(Ordering::Relaxed)
    }

    /// Whether there were too many notices.
    pub(crate) fn flooded(&self) -> bool {
        let most = self.0.most_notices.load(Ordering::Relaxed);
        most > 0 && self.0.notices.load(Ordering::Relaxed) > most
    }

    /// A notice came. False if it is one too many.
    pub(crate) fn noticed(&self) -> bool {
        self.0.notices.fetch_add(1, Ordering::Relaxed);
        !self.flooded()
    }

    fn read(&self, bytes: u64, first: bool) -> io::Result<()> {
        if first {
            self.0.trips.fetch_add(1, Ordering::Relaxed);
            self.0.answer.store(0, Ordering::Relaxed);
        }
        let answer = self.0.answer.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let most = self.0.most.load(Ordering::Relaxed);
        if most > 0 && answer > most {
            self.0.exceeded.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the server's answer is too large"));
        }
        Ok(())
    }
}

/// A connection's socket that counts.
pub(crate) struct Counted<S> {
    socket: S,
    wrote: bool,
    trips: RoundTrips,
}

impl<S> Counted<S> {
    pub(crate) fn new(socket: S, trips: RoundTrips) -> Counted<S> {
        Counted { socket, wrote: false, trips }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.socket).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        if bytes > 0 {
            let first = std::mem::take(&mut self.wrote);
            self.trips.read(bytes as u64, first)?;
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
