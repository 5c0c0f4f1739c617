//! How often the server was waited for and how much it sent, counted where the bytes pass and not where somebody remembers to count.

use super::{apart::RowsApart, copied::copy_as_rows, messages::Pieces};
use bytes::BytesMut;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
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
    /// Whether the server took the offer of TLS: then what passes here is not what it says.
    encrypted: AtomicBool,
    /// Whether `told` is anything but `AsItIs`, which is all that most reads have to know.
    otherwise: AtomicBool,
    told: Mutex<Told>,
}

/// How the client is told what the server says.
#[derive(Clone, Debug, Default)]
enum Told {
    #[default]
    AsItIs,
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

    /// Whether what passes is encrypted.
    pub(crate) fn encrypted(&self) -> bool {
        self.0.encrypted.load(Ordering::Relaxed)
    }

    /// Whether COPY … TO STDOUT is told as rows from here on.
    pub(crate) fn tell_copies_as_rows(&self, copies: bool) {
        self.tell(if copies { Told::CopyAsRows } else { Told::AsItIs });
    }

    /// Has the rows of the next answer kept apart. It is to be asked in the extended protocol, with nothing else on its way.
    pub(crate) fn keep_rows(&self, apart: &RowsApart) {
        self.tell(Told::WithoutRows(apart.clone()));
    }

    fn tell(&self, told: Told) {
        self.0.otherwise.store(!matches!(told, Told::AsItIs), Ordering::Relaxed);
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
    /// Whether nothing was read yet.
    silent: bool,
    trips: RoundTrips,
    /// What comes of an answer that is told otherwise.
    chunk: Vec<u8>,
    pieces: Pieces,
    /// What was told of it and not read yet.
    ready: BytesMut,
}

/// What is read of such an answer at once.
const CHUNK: usize = 64 << 10;

impl<S> Counted<S> {
    pub(crate) fn new(socket: S, trips: RoundTrips) -> Counted<S> {
        let (chunk, pieces, ready) = (Vec::new(), Pieces::default(), BytesMut::new());
        Counted { socket, wrote: false, silent: true, trips, chunk, pieces, ready }
    }

    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // The answer to the offer of TLS is a letter; no other answer begins with this one.
        if std::mem::take(&mut self.silent) && bytes.first() == Some(&b'S') {
            self.trips.0.encrypted.store(true, Ordering::Relaxed);
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
        let Counted { pieces, ready, .. } = self;
        match &told {
            Told::AsItIs => ready.extend_from_slice(came),
            Told::CopyAsRows => pieces.join(came, |message| copy_as_rows(message, ready)),
            Told::WithoutRows(apart) => {
                pieces.join(came, |message| apart.keep(message, ready));
                if apart.ended() {
                    self.trips.tell(Told::AsItIs);
                    self.chunk = Vec::new();
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
            if !self.trips.0.otherwise.load(Ordering::Relaxed) {
                let before = buf.filled().len();
                ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
                return Poll::Ready(self.came(buf.filled().get(before..).unwrap_or_default()));
            }
            let mut chunk = std::mem::take(&mut self.chunk);
            chunk.resize(CHUNK, 0);
            let mut came = ReadBuf::new(&mut chunk);
            let read = Pin::new(&mut self.socket).poll_read(cx, &mut came);
            let length = came.filled().len();
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
