//! Many rows at once, in PostgreSQL's binary format.
//!
//! [`Db::read_bulk`] reads the rows of a query in parts, so that a table of any size passes through a small memory; [`Db::write_bulk`]
//! collects rows and hands them in parts to a COPY, which the host ends before any other statement and after 16 MiB. Fields are
//! decoded and encoded where they are used, so that a million rows cost about what they cost in a native program. Other statements
//! may be sent in between.
//!
//! ```
//! use plinth_block::prelude::*;
//!
//! fn copy(db: &Db) -> Result<u64> {
//!     let mut rows = db.read_bulk("select id, slug, price_cents from capabilities where id > $1", &[&100])?;
//!     let mut prices = db.write_bulk("prices", &["id", "slug", "cents"])?;
//!     while let Some(row) = rows.next()? {
//!         let (id, slug, cents): (i64, &str, Option<i32>) = (row.get(0)?, row.get(1)?, row.get(2)?);
//!         prices.row((id, slug, cents.unwrap_or(0)))?;
//!     }
//!     Ok(prices.finish()?)
//! }
//! # plinth_test::example(
//! #     "create table capabilities (id bigint, slug text, price_cents int); create table prices (id bigint, slug text, cents int);
//! #      insert into capabilities values (100, 'a', 1), (101, 'b', null), (102, 'c', 3)",
//! #     |db| {
//! #         assert_eq!(copy(db)?, 2);
//! #         assert_eq!(db.query::<i32>("select cents from prices order by id", &[])?, [0, 3]);
//! #         Ok(())
//! #     },
//! # );
//! ```
//!
//! A type that has no case in the contract is read as text. It cannot be written, except for an enum's label: put its text into a column
//! of type text and cast it in a statement.

mod decode;
mod encode;
mod numeric;
mod wire;

pub use decode::{FromWire, field as take_field};
pub use encode::{ToWire, field as put_field};
pub use wire::Wire;

use crate::{
    Db, Result, SqlError, ToValue,
    db::values,
    types::{BulkColumn, ContractError, Refusal, ValueError},
};

/// Bytes of a part: enough that a call costs nothing beside it, little beside a component's memory.
const PART: usize = 256 << 10;

/// A cursor of a [`Backend`](crate::Backend).
pub trait BackendCursor {
    /// Its columns.
    fn columns(&self) -> Vec<BulkColumn>;
    /// The next rows, about so many bytes; empty at the end.
    ///
    /// # Errors
    ///
    /// As [`Db::query`].
    fn read(&self, most_bytes: u32) -> Result<Vec<u8>, SqlError>;
}

/// The rows of a query, read in parts.
pub struct BulkRows {
    cursor: Box<dyn BackendCursor>,
    columns: Vec<(String, Wire)>,
    part: Vec<u8>,
    at: usize,
    ended: bool,
    /// Where the fields of the row are that was read last.
    fields: Vec<Option<(usize, usize)>>,
}

/// One row of them.
#[derive(Clone, Copy)]
pub struct BulkRow<'a> {
    rows: &'a BulkRows,
}

impl BulkRows {
    fn new(cursor: Box<dyn BackendCursor>) -> Result<BulkRows, SqlError> {
        let columns = cursor.columns().into_iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let fields = vec![None; columns.len()];
        Ok(BulkRows { cursor, columns, part: Vec::new(), at: 0, ended: false, fields })
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    ///
    /// As [`Db::query`].
    // A row borrows from the part that it lies in, which no iterator can.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<BulkRow<'_>>, SqlError> {
        while self.at >= self.part.len() {
            if self.ended {
                return Ok(None);
            }
            self.part = self.cursor.read(PART as u32)?;
            self.at = 0;
            self.ended = self.part.is_empty();
        }
        self.split().ok_or_else(|| broken("the row ends too early"))?;
        Ok(Some(BulkRow { rows: self }))
    }

    /// Finds the fields of the row that begins here. This is done for every row, so nothing is allocated.
    fn split(&mut self) -> Option<()> {
        let all = self.part.as_slice();
        let mut at = self.at + 2;
        for field in &mut self.fields {
            let length = i32::from_be_bytes(*all.get(at..)?.first_chunk()?);
            at += 4;
            *field = usize::try_from(length).ok().map(|length| (at, at + length));
            at = field.map_or(at, |(_, end)| end);
        }
        self.at = at;
        (at <= all.len()).then_some(())
    }
}

impl<'a> BulkRow<'a> {
    /// The value of a column by its place, counted from 0. Texts and bytes may be borrowed: `&str`, `&[u8]`.
    ///
    /// # Errors
    ///
    /// If there is no such column, or its value is no `T`.
    pub fn get<T: FromWire<'a>>(&self, place: usize) -> Result<T, SqlError> {
        let (Some((name, wire)), Some(field)) = (self.rows.columns.get(place), self.rows.fields.get(place)) else {
            return Err(of_column(place.to_string(), "there is no such column".to_owned()));
        };
        let bytes = field.and_then(|(from, to)| self.rows.part.get(from..to));
        T::from_wire(*wire, bytes).map_err(|message| of_column(name.clone(), message))
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.rows.columns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.columns.is_empty()
    }
}

/// Rows on their way into a table. What was not [finished](BulkWriter::finish) may be there or not.
pub struct BulkWriter<'a> {
    db: &'a Db,
    table: String,
    columns: Vec<(String, Wire)>,
    part: Vec<u8>,
    written: u64,
}

impl BulkWriter<'_> {
    /// Adds a row: a tuple of up to eight values, or a slice of [`Value`](crate::types::Value)s, as many as there are columns.
    ///
    /// # Errors
    ///
    /// If a value does not fit its column, named; as [`Db::execute`], if enough rows have come together to be sent.
    pub fn row(&mut self, row: impl ToBulkRow) -> Result<(), SqlError> {
        let before = self.part.len();
        if let Err((place, message)) = row.to_row(&self.columns, &mut self.part) {
            self.part.truncate(before);
            let name = self.columns.get(place).map_or_else(|| place.to_string(), |(name, _)| name.clone());
            return Err(of_column(name, message));
        }
        if self.part.len() >= PART { self.send() } else { Ok(()) }
    }

    /// Sends what is left, and returns how many rows were written, as PostgreSQL says.
    ///
    /// # Errors
    ///
    /// As [`Db::execute`].
    pub fn finish(mut self) -> Result<u64, SqlError> {
        if !self.part.is_empty() {
            self.send()?;
        }
        // Without rows: what the server has against the last ones is told here.
        self.send()?;
        Ok(self.written)
    }

    fn send(&mut self) -> Result<(), SqlError> {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        self.written += self.db.bulk_copy(&self.table, &columns, &self.part)?;
        self.part.clear();
        Ok(())
    }
}

/// What can be a row that is written.
pub trait ToBulkRow {
    /// Appends the row's fields.
    ///
    /// # Errors
    ///
    /// The place of the value that does not fit, and why.
    fn to_row(&self, columns: &[(String, Wire)], out: &mut Vec<u8>) -> Result<(), (usize, String)>;
}

fn begin(given: usize, columns: &[(String, Wire)], out: &mut Vec<u8>) -> Result<(), (usize, String)> {
    if given != columns.len() {
        return Err((given.min(columns.len()), format!("{given} values were given for {} columns", columns.len())));
    }
    let count = i16::try_from(given).map_err(|_| (given, "there are too many columns".to_owned()))?;
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

impl<T: ToWire> ToBulkRow for &[T] {
    fn to_row(&self, columns: &[(String, Wire)], out: &mut Vec<u8>) -> Result<(), (usize, String)> {
        begin(self.len(), columns, out)?;
        for (place, (value, (_, wire))) in self.iter().zip(columns).enumerate() {
            put_field(value, *wire, out).map_err(|message| (place, message))?;
        }
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($name:ident)+);)*) => {$(
        impl<$($name: ToWire),+> ToBulkRow for ($($name,)+) {
            // The letters are values here and types above.
            #[allow(non_snake_case)]
            fn to_row(&self, columns: &[(String, Wire)], out: &mut Vec<u8>) -> Result<(), (usize, String)> {
                let ($($name,)+) = self;
                begin(0 $(+ { let _ = $name; 1 })+, columns, out)?;
                let mut wires = columns.iter().map(|(_, wire)| *wire).enumerate();
                $(if let Some((place, wire)) = wires.next() {
                    put_field($name, wire, out).map_err(|message| (place, message))?;
                })+
                Ok(())
            }
        }
    )*};
}

tuples! {
    (A);
    (A B);
    (A B C);
    (A B C D);
    (A B C D E);
    (A B C D E F);
    (A B C D E F G);
    (A B C D E F G H);
}

impl Db {
    /// Opens a cursor over a query that only reads. It sees the database as it is now, whatever is changed while it is read.
    ///
    /// # Errors
    ///
    /// As [`Db::query`].
    pub fn read_bulk(&self, statement: &str, params: &[&dyn ToValue]) -> Result<BulkRows, SqlError> {
        BulkRows::new(self.bulk_cursor(statement, &values(params))?)
    }

    /// Begins to put rows into columns of a table, named as PostgreSQL stores them. `writes` in `block.toml` names the columns.
    ///
    /// # Errors
    ///
    /// As [`Db::execute`]; also if a column's type cannot be written in binary.
    pub fn write_bulk(&self, table: &str, columns: &[&str]) -> Result<BulkWriter<'_>, SqlError> {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let columns = self.bulk_describe(table, &columns)?.into_iter().map(known).collect::<Result<_, _>>()?;
        Ok(BulkWriter { db: self, table: table.to_owned(), columns, part: Vec::new(), written: 0 })
    }
}

fn known(column: BulkColumn) -> Result<(String, Wire), SqlError> {
    match Wire::named(&column.encoded_as) {
        Some(wire) => Ok((column.name, wire)),
        None => {
            let message = format!(
                "its type {} has no binary format here: use a column of type text, and cast it in a statement",
                column.type_name
            );
            Err(of_column(column.name, message))
        }
    }
}

fn of_column(column: String, message: String) -> SqlError {
    SqlError(ContractError::Value(ValueError { parameter: None, column: Some(column), message, extra: Vec::new() }))
}

fn broken(message: &str) -> SqlError {
    SqlError(ContractError::Other(Refusal { rule: "bulk".to_owned(), message: message.to_owned(), extra: Vec::new() }))
}
