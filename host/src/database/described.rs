//! The columns of an answer that has no rows.
//!
//! The server describes an answer before its rows, and tokio-postgres tells the description with each row, so of an answer without rows
//! nobody hears it. To ask for it takes a round trip of its own, and the server reads the query a second time. Most looks at post-conditions
//! find nothing, which is what they are for. So the socket puts a row of NULLs into an answer that is empty, and [`Columned`] takes it out.

use bytes::{BufMut, BytesMut};
use futures_util::{StreamExt, stream::Fuse};
use std::pin::Pin;
use tokio_postgres::{Column, Row, RowStream};

/// What ends an answer to a query that found nothing.
const EMPTY: &[u8] = b"SELECT 0\0";

/// Puts a row of NULLs into answers of the extended protocol that describe columns and bring no rows.
#[derive(Debug, Default)]
pub(super) struct Describing {
    /// The description of a statement came: what comes next are its columns.
    described: bool,
    /// How many columns the answer has that comes, as long as it has no row.
    columns: u16,
}

impl Describing {
    /// Puts a message behind `ready`.
    pub(super) fn pass(&mut self, message: &[u8], ready: &mut BytesMut) {
        match message.split_at_checked(5) {
            // Its parameters. In the simple protocol there are none.
            Some(([b't', ..], _)) => self.described = true,
            Some(([b'T', ..], body)) => {
                let columns = body.first_chunk().map_or(0, |count| u16::from_be_bytes(*count));
                self.columns = if std::mem::take(&mut self.described) { columns } else { 0 };
            }
            Some(([b'C', ..], EMPTY)) if self.columns > 0 => {
                ready.put_u8(b'D');
                ready.put_u32(4 + 2 + 4 * u32::from(self.columns));
                ready.put_u16(self.columns);
                (0..self.columns).for_each(|_| ready.put_i32(-1));
                *self = Describing::default();
            }
            // A row, or the end of an answer, or of all that was asked.
            Some(([b'D' | b'C' | b'E' | b'Z', ..], _)) => *self = Describing::default(),
            // Notices among them.
            _ => {}
        }
        ready.extend_from_slice(message);
    }
}

/// The rows of a query, and its columns also if there are none.
pub(crate) struct Columned {
    /// Fused: it does not know that it has ended.
    rows: Pin<Box<Fuse<RowStream>>>,
    /// One that was read to know what the one before it is.
    held: Option<Row>,
    /// Whether the next row may be none.
    first: bool,
    /// The one that is none.
    none: Option<Row>,
}

impl Columned {
    /// Of a query that was sent unprepared. Of a query alone: what else brings rows may not say how many.
    pub(crate) fn new(rows: RowStream) -> Columned {
        Columned { rows: Box::pin(rows.fuse()), held: None, first: true, none: None }
    }

    /// Of what was prepared, whose columns are known by that.
    pub(crate) fn prepared(rows: RowStream) -> Columned {
        Columned { first: false, ..Columned::new(rows) }
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Option<Result<Row, tokio_postgres::Error>> {
        if let Some(held) = self.held.take() {
            return Some(Ok(held));
        }
        let row = match self.rows.next().await? {
            // Four bytes for each field say that it is NULL.
            Ok(row) if std::mem::take(&mut self.first) && row.raw_size_bytes() == 4 * row.columns().len() => row,
            other => return Some(other),
        };
        // A row that is all NULL and one that the socket put there differ by what the server says at the end.
        match self.rows.next().await {
            None if self.rows.get_ref().rows_affected() == Some(0) => {
                self.none = Some(row);
                None
            }
            None => Some(Ok(row)),
            Some(Ok(held)) => {
                self.held = Some(held);
                Some(Ok(row))
            }
            Some(Err(error)) => Some(Err(error)),
        }
    }

    /// The columns, if there were no rows; else each row has them.
    pub(crate) fn columns(&self) -> &[Column] {
        self.none.as_ref().map_or(&[], Row::columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::messages::Pieces;
    use proptest::{collection::vec, prelude::*};

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    /// How something was asked for.
    #[derive(Clone, Copy, Debug)]
    enum Asked {
        Unprepared,
        /// Described before, not now.
        Prepared,
        Simple,
        /// To know its columns.
        Described,
    }

    #[derive(Clone, Debug)]
    struct Answer {
        asked: Asked,
        columns: u16,
        rows: usize,
        fails: bool,
        notices: bool,
    }

    impl Answer {
        fn any() -> impl Strategy<Value = Answer> {
            let asked = prop_oneof![Just(Asked::Unprepared), Just(Asked::Prepared), Just(Asked::Simple), Just(Asked::Described)];
            let answer = |(asked, columns, rows, fails, notices)| Answer { asked, columns, rows, fails, notices };
            (asked, 0_u16..4, 0_usize..3, proptest::bool::weighted(0.2), any::<bool>()).prop_map(answer)
        }

        /// What the server sends, and what is told of it.
        fn messages(&self) -> (Vec<u8>, Vec<u8>) {
            let columns = self.columns.to_be_bytes();
            let described = message(b'T', &[columns.as_slice(), b"names and types"].concat());
            let mut sent = match self.asked {
                Asked::Unprepared => [message(b'1', b""), message(b'2', b""), message(b't', b"\0\0"), described].concat(),
                Asked::Prepared => message(b'2', b""),
                Asked::Simple => described,
                Asked::Described => {
                    let sent = [message(b'1', b""), message(b't', b"\0\0"), described, message(b'Z', b"T")].concat();
                    return (sent.clone(), sent);
                }
            };
            if self.notices {
                sent.extend(message(b'S', b"client_encoding\0UTF8\0"));
            }
            for _ in 0..self.rows {
                sent.extend(message(b'D', &[columns.as_slice(), &vec![255; 4 * usize::from(self.columns)]].concat()));
            }
            let end = match self.fails {
                true => message(b'E', b"SERROR\0\0"),
                false => message(b'C', format!("SELECT {}\0", self.rows).as_bytes()),
            };
            let mut told = sent.clone();
            if matches!(self.asked, Asked::Unprepared) && self.rows == 0 && !self.fails && self.columns > 0 {
                told.extend(message(b'D', &[columns.as_slice(), &vec![255; 4 * usize::from(self.columns)]].concat()));
            }
            let end = [end, message(b'Z', b"T")].concat();
            ([sent, end.clone()].concat(), [told, end].concat())
        }
    }

    proptest! {
        #[test]
        fn only_an_unprepared_query_that_finds_nothing_brings_a_row_that_is_none(
            answers in vec(Answer::any(), 0..8),
            cuts in vec(1_usize..60, 1..40),
        ) {
            let (sent, expected): (Vec<_>, Vec<_>) = answers.iter().map(Answer::messages).unzip();
            let (sent, expected) = (sent.concat(), expected.concat());
            let (mut describing, mut pieces, mut told, mut rest) = (Describing::default(), Pieces::default(), BytesMut::new(), sent.as_slice());
            // However the bytes come.
            for cut in cuts {
                let (came, after) = rest.split_at(cut.min(rest.len()));
                pieces.join(came, |message| describing.pass(message, &mut told));
                rest = after;
            }
            pieces.join(rest, |message| describing.pass(message, &mut told));
            prop_assert_eq!(told.to_vec(), expected);
        }
    }
}
