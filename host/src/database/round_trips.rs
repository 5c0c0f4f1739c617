//! How often the server was waited for and how much it sent, counted where the bytes pass and not where somebody remembers to count.

use super::{apart::RowsApart, copied::copy_as_rows, described::Describing, messages::Pieces};
use bytes::BytesMut;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

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
    told: Mutex<Told>,
}

/// How the client is told what the server says.
#[derive(Clone, Debug, Default)]
enum Told {
    /// Until it lets us in: not all of that are messages.
    #[default]
    AsItIs,
    /// With the columns of answers that have no rows.
    WithColumns,
    /// COPY … TO STDOUT as rows.
    CopyAsRows,
    /// Without the rows of an answer.
    WithoutRows(RowsApart),
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

    /// Has the columns told of answers that have no rows, from here on: see [`Columned`](super::described::Columned). Nothing is to be on its
    /// way.
    pub(super) fn tell_columns(&self) {
        self.tell(Told::WithColumns);
    }

    /// Whether COPY … TO STDOUT is told as rows from here on.
    pub(super) fn tell_copies_as_rows(&self, copies: bool) {
        self.tell(if copies { Told::CopyAsRows } else { Told::WithColumns });
    }

    /// Has the rows of the next answer kept apart. It is to be asked in the extended protocol, with nothing else on its way.
    pub(crate) fn keep_rows(&self, apart: &RowsApart) {
        self.tell(Told::WithoutRows(apart.clone()));
    }

    fn tell(&self, told: Told) {
        *self.told() = told;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// What comes.
    chunk: Vec<u8>,
    /// Whether as much came as there was room for.
    filled: bool,
    pieces: Pieces,
    describing: Describing,
    /// What was told of it and not read yet.
    ready: BytesMut,
}

/// What is read at once, to begin with and at most.
const FIRST_CHUNK: usize = 4 << 10;
const CHUNK: usize = 64 << 10;

impl<S> Counted<S> {
    pub(crate) fn new(socket: S, trips: RoundTrips) -> Counted<S> {
        let (chunk, pieces, describing, ready) = (Vec::new(), Pieces::default(), Describing::default(), BytesMut::new());
        Counted { socket, wrote: false, trips, chunk, filled: false, pieces, describing, ready }
    }

    /// The socket, and who counts.
    pub(super) fn apart(self) -> (S, RoundTrips) {
        (self.socket, self.trips)
    }

    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let first = std::mem::take(&mut self.wrote);
        self.trips.read(bytes.len() as u64, first)
    }
}

impl<S> Counted<S> {
    /// Makes what is told of what came.
    fn turn(&mut self, came: &[u8]) -> io::Result<()> {
        self.came(came)?;
        let told = self.trips.told().clone();
        let Counted { pieces, describing, ready, .. } = self;
        match &told {
            Told::AsItIs => ready.extend_from_slice(came),
            Told::WithColumns => pieces.join(came, |message| describing.pass(message, ready)),
            Told::CopyAsRows => pieces.join(came, |message| copy_as_rows(message, ready)),
            Told::WithoutRows(apart) => {
                pieces.join(came, |message| apart.keep(message, ready));
                if apart.ended() {
                    self.trips.tell(Told::WithColumns);
                }
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let most = self.ready.len().min(buf.remaining());
                buf.put_slice(&self.ready.split_to(most));
                return Poll::Ready(Ok(()));
            }
            let mut chunk = std::mem::take(&mut self.chunk);
            if chunk.is_empty() || self.filled {
                chunk.resize((4 * chunk.len()).clamp(FIRST_CHUNK, CHUNK), 0);
            }
            let mut came = ReadBuf::new(&mut chunk);
            let read = Pin::new(&mut self.socket).poll_read(cx, &mut came);
            let length = came.filled().len();
            self.filled = length == chunk.len();
            let done = match read {
                Poll::Ready(Ok(())) if length > 0 => self.turn(chunk.get(..length).unwrap_or_default()).map(|()| None),
                read => Ok(Some(read)),
            };
            self.chunk = chunk;
            if let Some(read) = done? {
                return read;
            }
        }
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

impl<S: TlsStream + Unpin> TlsStream for Counted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.socket.channel_binding()
    }
}
