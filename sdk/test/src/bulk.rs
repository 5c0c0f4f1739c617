//! Rows in bulk without WebAssembly: out by a cursor, in by COPY, in PostgreSQL's binary format as the host passes them on.

use crate::native::{Native, fitted, told, value_error};
use plinth_block::{
    SqlError,
    bulk::{BackendCursor, Wire},
    types::{BulkColumn, Value},
};
use plinth_values::{Raw, base, type_name};
use postgres::{
    Client,
    types::{Kind, ToSql, Type},
};
use std::{cell::Cell, io::Write};

/// Rows of a part. A test's table is small, and is to come in several parts all the same.
const ROWS: usize = 1_000;
/// Before the rows of a COPY: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After them.
const TRAILER: &[u8] = &[0xff, 0xff];

/// A cursor that was declared.
pub(crate) struct Opened {
    name: String,
    columns: Vec<BulkColumn>,
}

/// Declares a cursor over a query. The number makes its name.
pub(crate) fn declare(client: &mut Client, number: u32, statement: &str, params: &[Value]) -> Result<Opened, SqlError> {
    let name = format!("plinth_rows_{number}");
    let query = client.prepare(statement).map_err(|error| told(&error))?;
    let columns = query.columns().iter().map(|column| described(column.name(), column.type_())).collect::<Result<_, _>>()?;
    let statement = statement.trim_end().trim_end_matches(';');
    let declare = format!("declare {name} no scroll cursor without hold for {statement}");
    let declare = client.prepare(&declare).map_err(|error| told(&error))?;
    let fitted = fitted(params, declare.params())?;
    let params: Vec<&(dyn ToSql + Sync)> = fitted.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
    client.execute(&declare, &params).map_err(|error| told(&error))?;
    Ok(Opened { name, columns })
}

/// The cursor as the block holds it.
pub(crate) fn cursor(native: &Native, opened: Opened) -> Box<dyn BackendCursor> {
    Box::new(Cursor { native: native.clone(), opened, ended: Cell::new(false) })
}

/// Closed when it is dropped.
struct Cursor {
    native: Native,
    opened: Opened,
    ended: Cell<bool>,
}

impl BackendCursor for Cursor {
    fn columns(&self) -> Vec<BulkColumn> {
        self.opened.columns.clone()
    }

    fn read(&self, _most_bytes: u32) -> Result<Vec<u8>, SqlError> {
        let mut part = Vec::new();
        if self.ended.get() {
            return Ok(part);
        }
        let fetch = format!("fetch forward {ROWS} from {}", self.opened.name);
        let rows = self.native.noted(|client| client.query(&fetch, &[]).map_err(|error| told(&error)))?;
        self.ended.set(rows.len() < ROWS);
        for row in rows {
            part.extend_from_slice(&i16::try_from(row.len()).unwrap_or(i16::MAX).to_be_bytes());
            for place in 0..row.len() {
                let raw: Raw<'_> = row.try_get(place).map_err(|error| told(&error))?;
                let length = raw.0.map_or(Ok(-1), |bytes| i32::try_from(bytes.len())).unwrap_or(i32::MAX);
                part.extend_from_slice(&length.to_be_bytes());
                part.extend_from_slice(raw.0.unwrap_or_default());
            }
        }
        Ok(part)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // A sub-step that was undone takes it along, and so does a transaction that failed.
        let mut client = self.native.client.borrow_mut();
        let there = "select from pg_cursors where name = $1";
        if client.query(there, &[&self.opened.name]).is_ok_and(|found| !found.is_empty()) {
            let _ = client.batch_execute(&format!("close {}", self.opened.name));
        }
    }
}

/// The columns of a table.
pub(crate) fn describe(client: &mut Client, table: &str, columns: &[String]) -> Result<Vec<BulkColumn>, SqlError> {
    let columns = listed(columns).unwrap_or_else(|| "*".to_owned());
    let query = client.prepare(&format!("select {columns} from {}", quoted(table))).map_err(|error| told(&error))?;
    query.columns().iter().map(|column| described(column.name(), column.type_())).collect()
}

/// The statement that puts rows into a table.
pub(crate) fn statement(table: &str, columns: &[String]) -> String {
    let columns = listed(columns).map_or_else(String::new, |columns| format!(" ({columns})"));
    format!("copy {}{columns} from stdin (format binary)", quoted(table))
}

/// Puts rows into a table, and returns how many.
pub(crate) fn copy(client: &mut Client, statement: &str, rows: &[u8]) -> Result<u64, SqlError> {
    let mut writer = client.copy_in(statement).map_err(|error| told(&error))?;
    for part in [HEADER, rows, TRAILER] {
        // What the server has against the rows it says at the end.
        let _ = writer.write_all(part);
    }
    writer.finish().map_err(|error| told(&error))
}

/// A column and the binary format that its bytes have. An enum's label is sent as its text.
fn described(name: &str, of: &Type) -> Result<BulkColumn, SqlError> {
    let encoded_as = match base(of).kind() {
        Kind::Enum(_) => "text".to_owned(),
        _ => type_name(base(of)),
    };
    if Wire::named(&encoded_as).is_none() {
        let message = format!("natively a block moves no {} in bulk but as text: cast it with ::text", of.name());
        return Err(value_error(None, Some(name.to_owned()), message));
    }
    Ok(BulkColumn { name: name.to_owned(), type_name: type_name(of), encoded_as, extra: Vec::new() })
}

fn quoted(table: &str) -> String {
    let names: Vec<String> = table.split('.').map(name).collect();
    names.join(".")
}

fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn listed(columns: &[String]) -> Option<String> {
    (!columns.is_empty()).then(|| columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", "))
}
