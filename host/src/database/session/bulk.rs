//! Many rows at once, in PostgreSQL's binary format: out by a cursor, in by COPY. No other way leads around the policy, and neither
//! does this one.

use super::{Session, as_text, budget, told};
use crate::{
    contract::{BulkColumn, Error, Refusal, ValueError},
    database::{
        literal, name,
        policy::{Phase, Wraps},
        value::{Raw, Value, base, is_native, parameters, type_name},
    },
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, pin_mut};
use plinth_manifest::TableName;
use tokio_postgres::types::{Kind, Type};

/// Rows of a cursor's first part. How large rows are is known only then.
const FIRST: usize = 100;
/// How many times more rows than the last part had a part has at most: rows may be larger further on.
const GROWTH: usize = 10;
/// Bytes of a part, at most, whatever the guest asks for: more would only fill its memory.
const PART: usize = 4 << 20;
/// Before the rows of a COPY: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After them.
const TRAILER: &[u8] = &[0xff, 0xff];

/// A cursor of a block.
pub(super) struct Cursor {
    columns: Vec<BulkColumn>,
    width: usize,
    /// Rows of the next part.
    rows: usize,
    ended: bool,
}

impl Session {
    /// Opens a cursor. Its number names it.
    pub(crate) async fn open_cursor(&mut self, statement: String, params: Vec<Value>) -> Result<u32, Error> {
        let done = self.try_open_cursor(&statement, &params).await;
        self.sent(done.as_ref().ok().map(|_| 0)).await;
        self.noted(done)
    }

    async fn try_open_cursor(&mut self, statement: &str, params: &[Value]) -> Result<u32, Error> {
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
        let params = parameters(params, declare.params()).map_err(Error::Value)?;
        client.execute_raw(&declare, &params).await.map_err(|error| told(&error))?;
        self.cursors.insert(number, Cursor { columns, width: types.len(), rows: FIRST, ended: false });
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
        let (width, rows) = match self.cursors.get(&number) {
            Some(cursor) if cursor.ended => return Ok(Vec::new()),
            Some(cursor) => (cursor.width, cursor.rows),
            None => return Err(refused("cursor", "the cursor is closed")),
        };
        let connection = self.connection.clone();
        let fetch = format!("fetch forward {rows} from {}", cursor(number));
        let none: [(&str, Type); 0] = [];
        let stream = connection.client().query_typed_raw(&fetch, none).await.map_err(|error| told(&error))?;
        pin_mut!(stream);
        let (mut part, mut count) = (Vec::new(), 0_usize);
        let fields = i16::try_from(width).unwrap_or(i16::MAX).to_be_bytes();
        while let Some(row) = stream.next().await {
            let row = row.map_err(|error| told(&error))?;
            count += 1;
            part.extend_from_slice(&fields);
            for place in 0..width {
                let raw: Raw<'_> = row.try_get(place).map_err(|error| told(&error))?;
                let length = raw.0.map_or(Ok(-1), |bytes| i32::try_from(bytes.len())).unwrap_or(i32::MAX);
                part.extend_from_slice(&length.to_be_bytes());
                part.extend_from_slice(raw.0.unwrap_or_default());
            }
        }
        self.rows_read += count as u64;
        self.bytes_read = self.bytes_read.saturating_add(part.len() as u64);
        self.too_much(0, part.len())?;
        if let Some(cursor) = self.cursors.get_mut(&number) {
            cursor.ended = count < rows;
            let wanted = PART.min(most_bytes as usize).max(1);
            let average = part.len().checked_div(count).unwrap_or(1).max(1);
            cursor.rows = (wanted / average).clamp(1, rows.saturating_mul(GROWTH));
        }
        Ok(part)
    }

    /// Closes a cursor. One whose transaction failed is closed by that.
    pub(crate) async fn close_cursor(&mut self, number: u32) {
        if self.cursors.remove(&number).is_none() || self.failed.is_some() {
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
        let table = table_name(table)?;
        let look = format!("select {} from {}", listed(columns).unwrap_or_else(|| "*".to_owned()), quoted(&table));
        self.admit(&look, 0)?;
        let prepared = self.prepare(&look).await?;
        Ok(prepared.columns().iter().map(|column| of_table(column.name(), column.type_())).collect())
    }

    /// Puts rows into a table.
    pub(crate) async fn copy_in(&mut self, table: &str, columns: &[String], rows: Vec<u8>) -> Result<u64, Error> {
        let done = self.try_copy_in(table, columns, rows).await;
        self.sent(done.as_ref().ok().copied()).await;
        self.noted(done)
    }

    async fn try_copy_in(&mut self, table: &str, columns: &[String], rows: Vec<u8>) -> Result<u64, Error> {
        let table = table_name(table)?;
        let list = listed(columns).map_or_else(String::new, |columns| format!(" ({columns})"));
        let copy = format!("copy {}{list} from stdin (format binary)", quoted(&table));
        self.statements += 1;
        self.current = Some(copy.clone());
        if let Some(teller) = &self.teller {
            teller.statement(self.statements, &copy);
        }
        self.admit_one()?;
        let allowed = self.policy.check_copy(&table, columns, self.phase).map_err(Error::Refused)?;
        self.about_to_send(&allowed, &copy, &[]).await?;
        let sink = self.connection.client().copy_in::<_, Bytes>(&copy).await.map_err(|error| told(&error))?;
        pin_mut!(sink);
        for bytes in [Bytes::from_static(HEADER), rows.into(), Bytes::from_static(TRAILER)] {
            // What the server has against the rows it says at the end.
            if sink.feed(bytes).await.is_err() {
                break;
            }
        }
        sink.finish().await.map_err(|error| told(&error))
    }
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

/// A column of a cursor. What has no case in the contract was cast to text.
fn of_cursor(name: &str, of: &Type) -> BulkColumn {
    let encoded_as = match (is_native(of), base(of).kind()) {
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
