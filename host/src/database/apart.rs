//! The rows of one answer, taken as they come.
//!
//! A row is sent as COPY's binary format has it: how many fields, then the length and the bytes of each. To read it, tokio-postgres
//! finds its fields, and the host would put them together again. So, of a query that is asked in a way that the client does not have to
//! understand, the socket keeps the rows, and the client is told all but them.

use bytes::BytesMut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows in COPY's binary format.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

/// The rows of an answer that comes, or came.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowsApart(Arc<Mutex<Taking>>);

#[derive(Debug, Default)]
struct Taking {
    rows: Rows,
    /// The answer has begun: what comes before it belongs to what was asked before.
    begun: bool,
    ended: bool,
}

impl RowsApart {
    /// For so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> RowsApart {
        let rows = Rows { bytes: Vec::with_capacity(bytes), count: 0 };
        RowsApart(Arc::new(Mutex::new(Taking { rows, ..Taking::default() })))
    }

    /// What was kept.
    pub(crate) fn take(&self) -> Rows {
        std::mem::take(&mut self.taking().rows)
    }

    /// Keeps a message that is a row of the answer, and puts any other behind `ready`.
    pub(super) fn keep(&self, message: &[u8], ready: &mut BytesMut) {
        let taking = &mut *self.taking();
        match message.split_at_checked(5) {
            Some(([b'D', ..], row)) if taking.begun && !taking.ended => {
                taking.rows.bytes.extend_from_slice(row);
                taking.rows.count += 1;
                return;
            }
            // Its parameters are bound.
            Some(([b'2', ..], _)) => taking.begun = true,
            // The server is ready for another one.
            Some(([b'Z', ..], _)) if taking.begun => taking.ended = true,
            Some(([b'E', ..], _)) => taking.ended = true,
            _ => {}
        }
        ready.extend_from_slice(message);
    }

    /// Whether the answer is over.
    pub(super) fn ended(&self) -> bool {
        self.taking().ended
    }

    fn taking(&self) -> MutexGuard<'_, Taking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::messages::Pieces;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    proptest::proptest! {
        #[test]
        fn the_rows_of_the_answer_are_kept_and_everything_else_is_told(
            before in proptest::collection::vec(proptest::sample::select(b"N3ZD".as_slice()), 0..4),
            rows in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 0..20),
            fails in proptest::bool::ANY,
            cuts in proptest::collection::vec(1_usize..60, 1..20),
        ) {
            let messages = |kinds: &[u8]| kinds.iter().flat_map(|kind| message(*kind, b"body")).collect::<Vec<u8>>();
            let (begin, end) = (messages(b"12TN"), messages(if fails { b"EZ" } else { b"CZ" }));
            let (before, after) = (messages(&before), messages(b"2DDCZ"));
            let answer: Vec<u8> = rows.iter().flat_map(|row| message(b'D', row)).collect();
            let all = [before.as_slice(), &begin, &answer, &end, &after].concat();
            let (apart, mut pieces, mut told, mut rest) = (RowsApart::default(), Pieces::default(), BytesMut::new(), all.as_slice());
            for cut in cuts {
                let (came, later) = rest.split_at(cut.min(rest.len()));
                pieces.join(came, |message| apart.keep(message, &mut told));
                rest = later;
            }
            pieces.join(rest, |message| apart.keep(message, &mut told));
            assert!(apart.ended());
            let kept = apart.take();
            assert_eq!((kept.bytes, kept.count), (rows.concat(), rows.len()));
            assert_eq!(told.to_vec(), [before, begin, end, after].concat());
        }
    }
}
