//! COPY … TO STDOUT, told as rows.
//!
//! A new session pays for all that a SELECT makes it look up in the catalog: operators, indexes, statistics. COPY of a table has neither
//! planner nor expressions, and costs a third. tokio-postgres cannot ask for it in one round trip, since it prepares first; what it
//! asks in the simple protocol may return rows. So, while it is asked to, the socket turns the server's answer into that.

use bytes::{BufMut, BytesMut};

const TEXT: i32 = 25;

/// Puts what is to be read in place of a message behind `ready`: messages of COPY OUT become those of a query, all others pass.
pub(super) fn copy_as_rows(message: &[u8], ready: &mut BytesMut) {
    let body = message.get(5..).unwrap_or_default();
    match message.first() {
        Some(b'H') => describe(body, ready),
        Some(b'd') => row(body, ready),
        // The rows are over: what follows says so.
        Some(b'c') => {}
        _ => ready.extend_from_slice(message),
    }
}

/// A message of a kind, with a body that `write` writes.
fn message(kind: u8, ready: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    write(&mut body);
    ready.put_u8(kind);
    ready.put_i32(i32::try_from(body.len() + 4).unwrap_or(i32::MAX));
    ready.extend_from_slice(&body);
}

/// CopyOutResponse: the format of all, how many columns, the format of each.
fn describe(response: &[u8], ready: &mut BytesMut) {
    let columns = response.get(1..3).and_then(|count| count.try_into().ok()).map_or(0, i16::from_be_bytes);
    message(b'T', ready, |body| {
        body.put_i16(columns);
        for _ in 0..columns {
            // No name, of no table, text of any length in the text format.
            body.put_u8(0);
            body.put_i32(0);
            body.put_i16(0);
            body.put_i32(TEXT);
            body.put_i16(-1);
            body.put_i32(-1);
            body.put_i16(0);
        }
    });
}

/// A line of COPY's text format: <https://www.postgresql.org/docs/current/sql-copy.html>.
fn row(line: &[u8], ready: &mut BytesMut) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let fields: Vec<Option<Vec<u8>>> = line.split(|byte| *byte == b'\t').map(field).collect();
    message(b'D', ready, |body| {
        body.put_i16(i16::try_from(fields.len()).unwrap_or(i16::MAX));
        for field in &fields {
            match field {
                None => body.put_i32(-1),
                Some(text) => {
                    body.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                    body.extend_from_slice(text);
                }
            }
        }
    });
}

/// A field without its escapes; none if it is NULL.
fn field(escaped: &[u8]) -> Option<Vec<u8>> {
    if escaped == b"\\N" {
        return None;
    }
    let mut text = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::messages::Pieces;
    use postgres_protocol::message::backend::Message;
    use tokio_postgres::fallible_iterator::FallibleIterator;

    /// What the server sends for COPY of some rows, with what comes before and after.
    fn copied(rows: &[Vec<Option<String>>], columns: i16) -> Vec<u8> {
        let mut sent = BytesMut::new();
        message(b'N', &mut sent, |body| body.extend_from_slice(b"\0"));
        message(b'H', &mut sent, |body| {
            body.put_u8(0);
            body.put_i16(columns);
            (0..columns).for_each(|_| body.put_i16(0));
        });
        for row in rows {
            let field = |field: &Option<String>| match field {
                None => "\\N".to_owned(),
                Some(text) => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"),
            };
            let line = row.iter().map(field).collect::<Vec<_>>().join("\t") + "\n";
            message(b'd', &mut sent, |body| body.extend_from_slice(line.as_bytes()));
        }
        message(b'c', &mut sent, |_| {});
        message(b'C', &mut sent, |body| body.extend_from_slice(b"COPY 1\0"));
        message(b'Z', &mut sent, |body| body.extend_from_slice(b"I"));
        sent.to_vec()
    }

    fn read(mut bytes: BytesMut) -> (usize, Vec<Vec<Option<String>>>, String) {
        let (mut columns, mut rows, mut kinds) = (0, Vec::new(), String::new());
        while let Some(message) = Message::parse(&mut bytes).unwrap() {
            kinds.push(match message {
                Message::NoticeResponse(_) => 'N',
                Message::RowDescription(body) => {
                    columns = body.fields().count().unwrap();
                    'T'
                }
                Message::DataRow(body) => {
                    let text = |range: Option<std::ops::Range<usize>>| {
                        Ok(range.map(|range| String::from_utf8(body.buffer()[range].to_vec()).unwrap()))
                    };
                    rows.push(body.ranges().map(text).collect::<Vec<_>>().unwrap());
                    'D'
                }
                Message::CommandComplete(_) => 'C',
                Message::ReadyForQuery(_) => 'Z',
                _ => '?',
            });
        }
        assert!(bytes.is_empty());
        (columns, rows, kinds.replace("DD", "D").replace("DD", "D").replace("DD", "D"))
    }

    proptest::proptest! {
        #[test]
        fn a_copy_is_read_as_the_rows_that_it_is_of(
            rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of("[\\PC\\\\\t\n\r]{0,20}"), 3), 1..5),
            cuts in proptest::collection::vec(1_usize..60, 1..20),
        ) {
            let sent = copied(&rows, 3);
            let (mut pieces, mut ready, mut rest) = (Pieces::default(), BytesMut::new(), sent.as_slice());
            // However the bytes come.
            for cut in cuts {
                let (came, after) = rest.split_at(cut.min(rest.len()));
                pieces.join(came, |message| copy_as_rows(message, &mut ready));
                rest = after;
            }
            pieces.join(rest, |message| copy_as_rows(message, &mut ready));
            assert_eq!(read(ready), (3, rows, "NTDCZ".to_owned()));
        }
    }
}
