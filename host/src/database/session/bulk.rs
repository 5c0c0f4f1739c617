//! Many rows at once, in PostgreSQL's binary format: out by a cursor, in by COPY. No other way leads around the policy, and neither
//! does this one.

use super::{Session, budget, misfit, rows::as_text, told};
use crate::{
    contract::{BulkColumn, Error, Refusal, ValueError},
    database::{
        Connection,
        apart::{Rows, RowsApart},
        literal, name,
        policy::{Phase, Wraps},
    },
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use plinth_manifest::TableName;
use plinth_values::{Value, base, is_native, parameters, type_name};
use std::pin::Pin;
use tokio_postgres::{
    CopyInSink, RowStream,
    types::{Kind, Type},
};

/// Rows of a cursor's first part. How large rows are is known only then.
const FIRST: usize = 100;
/// How many times more rows than the last part had a part has at most: rows may be larger further on.
const GROWTH: usize = 10;
/// Bytes of a part, at most, whatever the guest asks for: about what fits into a socket's buffers, so that the server is done with
/// the next part when the guest is with this one.
const PART: usize = 256 << 10;
/// Bytes of a COPY, at most, once it has any: what the server has against them it says at the end.
const COPY: usize = 16 << 20;
/// Before the rows of a COPY: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After them.
const TRAILER: &[u8] = &[0xff, 0xff];

/// A cursor of a block.
pub(super) struct Cursor {
    columns: Vec<BulkColumn>,
    /// Rows of the part that was asked for last.
    rows: usize,
    /// That part, on its way: the server works on it while the guest works on the one before.
    coming: Option<(RowsApart, Pin<Box<RowStream>>)>,
    /// The same, received before another statement was sent.
    came: Option<Result<(Vec<u8>, usize), Error>>,
    ended: bool,
}

/// A COPY that is open: the server works on what it was handed while the guest makes more.
pub(super) struct Writing {
    statement: String,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    /// What it was handed.
    bytes: usize,
    rows: u64,
}

impl Session {
    /// Opens a cursor. Its number names it.
    pub(crate) async fn open_cursor(&mut self, statement: String, params: Vec<Value>) -> Result<u32, Error> {
        let done = self.try_open_cursor(&statement, &params).await;
        self.sent(done.as_ref().ok().map(|_| 0)).await;
        self.noted(done)
    }

    async fn try_open_cursor(&mut self, statement: &str, params: &[Value]) -> Result<u32, Error> {
        self.settle().await?;
        let allowed = self.admit(statement, params.len())?;
        if self.phase == Phase::Outside {
            return Err(refused("no-transaction", "a cursor needs a transaction, and the block runs outside of one"));
        }
        if allowed.wraps != Wraps::Subquery {
            return Err(refused("cursor", "a cursor is opened over a query that only reads: SELECT, VALUES or TABLE"));
        }
        if self.cursors.len() >= self.limits.handles {
            return Err(budget("handles", format!("more than {} cursors are open", self.limits.handles)));
        }
        self.about_to_send(&allowed, statement, params).await?;
        let prepared = self.prepare(statement).await?;
        let types: Vec<Type> = prepared.columns().iter().map(|column| column.type_().clone()).collect();
        let columns = prepared.columns().iter().map(|column| of_cursor(column.name(), column.type_())).collect();
        let query = as_text(statement, &types, allowed.wraps)?;
        let query = query.unwrap_or_else(|| statement.trim_end().trim_end_matches(';').to_owned());
        let number = self.cursors_opened;
        self.cursors_opened += 1;
        // All rows are wanted, not the first ones soon.
        self.connection.send("set local cursor_tuple_fraction = 1").await.map_err(|error| told(&error))?;
        let client = self.connection.client();
        let declare = format!("declare {} no scroll cursor without hold for {query}", cursor(number));
        let declare = client.prepare(&declare).await.map_err(|error| told(&error))?;
        let params = parameters(params, declare.params()).map_err(misfit)?;
        client.execute_raw(&declare, &params).await.map_err(|error| told(&error))?;
        let cursor = Cursor { columns, rows: FIRST, coming: None, came: None, ended: false };
        self.cursors.insert(number, cursor);
        Ok(number)
    }

    /// The columns of a cursor; none if it is closed.
    pub(crate) fn cursor_columns(&self, number: u32) -> Vec<BulkColumn> {
        self.cursors.get(&number).map(|cursor| cursor.columns.clone()).unwrap_or_default()
    }

    /// The next part of a cursor's rows; empty at the end.
    pub(crate) async fn read_cursor(&mut self, number: u32, most_bytes: u32) -> Result<Vec<u8>, Error> {
        let done = self.try_read_cursor(number, most_bytes).await;
        self.noted(done)
    }

    async fn try_read_cursor(&mut self, number: u32, most_bytes: u32) -> Result<Vec<u8>, Error> {
        self.settle_all_but(Some(number)).await?;
        let closed = || refused("cursor", "the cursor is closed");
        let cursor = self.cursors.get_mut(&number).ok_or_else(closed)?;
        if cursor.ended {
            return Ok(Vec::new());
        }
        if cursor.coming.is_none() && cursor.came.is_none() {
            cursor.ask(&self.connection, number).await?;
        }
        let (part, count) = cursor.receive().await?;
        cursor.ended = count < cursor.rows;
        let wanted = PART.min(most_bytes as usize).max(1);
        let average = part.len().checked_div(count).unwrap_or(1).max(1);
        cursor.rows = (wanted / average).clamp(1, cursor.rows.saturating_mul(GROWTH));
        if !cursor.ended {
            cursor.ask(&self.connection, number).await?;
        }
        self.rows_read += count as u64;
        self.bytes_read = self.bytes_read.saturating_add(part.len() as u64);
        self.too_much(0, part.len())?;
        Ok(part)
    }

    /// Waits for all that is on its way between the server and the guest, so that another statement can be sent: the server
    /// answers in order, and what is not received holds up what comes after it.
    ///
    /// # Errors
    ///
    /// That of rows that were on their way into a table.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        self.settle_all_but(None).await
    }

    async fn settle_all_but(&mut self, reading: Option<u32>) -> Result<(), Error> {
        self.catch_up().await?;
        self.rows_settle(reading).await
    }

    /// The same but for statements that were sent: what comes next is sent behind them.
    pub(super) async fn settle_rows(&mut self) -> Result<(), Error> {
        self.rows_settle(None).await
    }

    async fn rows_settle(&mut self, reading: Option<u32>) -> Result<(), Error> {
        if let Some(writing) = self.writing.take() {
            self.end_copy(writing).await?;
        }
        for (_, cursor) in self.cursors.iter_mut().filter(|(number, _)| Some(**number) != reading) {
            if cursor.coming.is_some() {
                let came = cursor.receive().await;
                cursor.came = Some(came);
            }
        }
        Ok(())
    }

    /// The guest came to an end of its own, or was stopped: nothing of it is left on its way.
    pub(crate) async fn end_of_call(&mut self, stopped: bool) {
        // What is dropped is thrown away as it comes. Rows into a table fail with it, and the rollback that follows undoes them.
        self.cursors.clear();
        if stopped {
            self.writing = None;
        }
        let settled = self.settle_rows().await;
        // The block's failure, if it told none before.
        let _ = self.noted(settled);
    }

    /// Closes a cursor. One whose transaction failed is closed by that.
    pub(crate) async fn close_cursor(&mut self, number: u32) {
        // Dropped, the rest of its part is thrown away as it comes.
        if self.cursors.remove(&number).is_none() || self.failed.is_some() {
            return;
        }
        let settled = self.settle().await;
        if self.noted(settled).is_err() {
            return;
        }
        // The sub-step that it was opened in may have taken it along: asking is cheaper than a failed transaction.
        let name = cursor(number);
        let there = format!("select exists (select from pg_cursors where name = {})", literal(&name));
        if let Ok(sets) = self.connection.send(&there).await
            && sets.value() == Some("t")
            && let Err(error) = self.connection.send(&format!("close {name}")).await
        {
            tracing::debug!(error = %crate::database_reason(&error), "a cursor cannot be closed");
        }
    }

    /// Columns of a table, and what their bytes have to be for COPY.
    pub(crate) async fn describe(&mut self, table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, Error> {
        let done = self.try_describe(table, columns).await;
        self.noted(done)
    }

    async fn try_describe(&mut self, table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, Error> {
        self.settle().await?;
        let table = table_name(table)?;
        let look = format!("select {} from {}", listed(columns).unwrap_or_else(|| "*".to_owned()), quoted(&table));
        self.admit(&look, 0)?;
        let prepared = self.prepare(&look).await?;
        Ok(prepared.columns().iter().map(|column| of_table(column.name(), column.type_())).collect())
    }

    /// Puts rows into a table. What the server has against them it says when the COPY ends, at the latest before the next statement.
    pub(crate) async fn copy_in(&mut self, table: &str, columns: &[String], rows: Vec<u8>) -> Result<u64, Error> {
        let done = self.try_copy_in(table, columns, rows).await;
        self.noted(done)
    }

    async fn try_copy_in(&mut self, table: &str, columns: &[String], rows: Vec<u8>) -> Result<u64, Error> {
        if rows.is_empty() {
            self.settle().await?;
            return Ok(0);
        }
        let count = rows_in(&rows).ok_or_else(|| {
            let message = "the bytes are no whole rows in COPY's binary format".to_owned();
            Error::Value(ValueError { parameter: None, column: None, message, extra: Vec::new() })
        })?;
        let table = table_name(table)?;
        let list = listed(columns).map_or_else(String::new, |columns| format!(" ({columns})"));
        let copy = format!("copy {}{list} from stdin (format binary)", quoted(&table));
        let goes_on = |writing: &mut Writing| writing.statement == copy && writing.bytes + rows.len() <= COPY;
        let mut writing = match self.writing.take_if(goes_on) {
            Some(writing) => writing,
            None => {
                self.settle().await?;
                self.begin_copy(copy, &table, columns).await?
            }
        };
        writing.bytes += rows.len();
        writing.rows += count;
        if writing.sink.feed(rows.into()).await.is_err() {
            self.end_copy(writing).await?;
        } else {
            self.writing = Some(writing);
        }
        Ok(count)
    }

    async fn begin_copy(&mut self, copy: String, table: &TableName, columns: &[String]) -> Result<Writing, Error> {
        self.statements += 1;
        self.current = Some(copy.clone());
        if let Some(teller) = &self.teller {
            teller.statement(self.statements, &copy);
        }
        self.admit_one()?;
        let allowed = self.policy.check_copy(table, columns, self.phase).map_err(Error::Refused)?;
        self.about_to_send(&allowed, &copy, &[]).await?;
        let begun = async {
            let prepared = self.prepare(&copy).await?;
            self.connection.client().copy_in::<_, Bytes>(&prepared).await.map_err(|error| told(&error))
        };
        match begun.await {
            Ok(sink) => {
                let mut sink = Box::pin(sink);
                // If it is not taken, the end says why.
                let _ = sink.feed(Bytes::from_static(HEADER)).await;
                Ok(Writing { statement: copy, sink, bytes: 0, rows: 0 })
            }
            Err(error) => {
                self.sent(None).await;
                Err(error)
            }
        }
    }

    async fn end_copy(&mut self, mut writing: Writing) -> Result<(), Error> {
        let _ = writing.sink.feed(Bytes::from_static(TRAILER)).await;
        let ended = writing.sink.as_mut().finish().await.map_err(|error| told(&error));
        self.sent(ended.is_ok().then_some(writing.rows)).await;
        ended.map(drop).inspect_err(|_| self.current = Some(writing.statement))
    }
}

impl Cursor {
    /// Asks for the next part.
    async fn ask(&mut self, connection: &Connection, number: u32) -> Result<(), Error> {
        let fetch = format!("fetch forward {} from {}", self.rows, cursor(number));
        let none: [(&str, Type); 0] = [];
        let rows = RowsApart::with_capacity(PART + PART / 4);
        connection.trips().keep_rows(&rows);
        let stream = connection.client().query_typed_raw(&fetch, none).await.map_err(|error| told(&error))?;
        self.coming = Some((rows, Box::pin(stream)));
        Ok(())
    }

    /// The part that was asked for, and how many rows it has.
    async fn receive(&mut self) -> Result<(Vec<u8>, usize), Error> {
        if let Some(came) = self.came.take() {
            return came;
        }
        let Some((apart, mut stream)) = self.coming.take() else { return Ok((Vec::new(), 0)) };
        // The client is told all but the rows.
        while let Some(row) = stream.next().await {
            row.map_err(|error| told(&error))?;
        }
        let Rows { bytes, count } = apart.take();
        Ok((bytes, count))
    }
}

/// How many rows these bytes are; none if they are not whole rows.
fn rows_in(mut bytes: &[u8]) -> Option<u64> {
    let mut rows = 0;
    while let Some((fields, rest)) = bytes.split_first_chunk::<2>() {
        bytes = rest;
        for _ in 0..u16::try_from(i16::from_be_bytes(*fields)).ok()? {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_be_bytes(*length).max(0)).ok()?;
            bytes = rest.get(length..)?;
        }
        rows += 1;
    }
    bytes.is_empty().then_some(rows)
}

fn cursor(number: u32) -> String {
    format!("plinth_rows_{number}")
}

fn refused(rule: &str, message: &str) -> Error {
    Error::Refused(Refusal { rule: rule.to_owned(), message: message.to_owned(), extra: Vec::new() })
}

fn table_name(text: &str) -> Result<TableName, Error> {
    text.parse().map_err(|message| Error::Value(ValueError { parameter: None, column: None, message, extra: Vec::new() }))
}

fn quoted(table: &TableName) -> String {
    format!("{}.{}", name(&table.schema), name(&table.table))
}

fn listed(columns: &[String]) -> Option<String> {
    (!columns.is_empty()).then(|| columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", "))
}

/// A column of a cursor. What has no case in the contract was cast to text. An array's elements are of what they are made of, which
/// every database has: of a domain, or of a vector of the catalog's.
fn of_cursor(name: &str, of: &Type) -> BulkColumn {
    let encoded_as = match (is_native(of), base(of).kind()) {
        (true, Kind::Array(element)) => format!("_{}", type_name(base(element))),
        (true, _) => type_name(base(of)),
        (false, Kind::Array(_)) => type_name(&Type::TEXT_ARRAY),
        (false, _) => type_name(&Type::TEXT),
    };
    BulkColumn { name: name.to_owned(), type_name: type_name(of), encoded_as, extra: Vec::new() }
}

/// A column of a table. A label's binary form is its text.
fn of_table(name: &str, of: &Type) -> BulkColumn {
    let encoded_as = match base(of).kind() {
        Kind::Enum(_) => type_name(&Type::TEXT),
        _ => type_name(base(of)),
    };
    BulkColumn { name: name.to_owned(), type_name: type_name(of), encoded_as, extra: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::rows_in;

    #[test]
    fn only_whole_rows_are_sent() {
        let row = [0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(rows_in(&[]), Some(0));
        assert_eq!(rows_in(&[row, row].concat()), Some(2));
        for end in 1..row.len() {
            assert_eq!(rows_in(&row[..end]), None, "{end}");
        }
        // What ends a COPY is the host's to send.
        assert_eq!(rows_in(&[0xff, 0xff]), None);
    }
}
