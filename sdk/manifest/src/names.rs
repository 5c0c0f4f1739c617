//! Names in a manifest: blocks, tables, columns.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Deref, str::FromStr};

/// The longest id. It is part of file names and of the ledger's keys.
const LONGEST_ID: usize = 100;
/// PostgreSQL's NAMEDATALEN less one: longer names are cut by the server.
const LONGEST_NAME: usize = 63;

/// The identity of a block: letters, digits, `_` and `-`, lower case, at most 100. Two labels with one number are two ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockId(String);

impl Deref for BlockId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for BlockId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for BlockId {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl std::borrow::Borrow<str> for BlockId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BlockId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let starts = id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts || id.len() > LONGEST_ID || !id.chars().all(good) {
            return Err(format!(
                "`{id}` is no block id: at most {LONGEST_ID} lower-case letters, digits, `_` and `-`, the first a letter or digit"
            ));
        }
        Ok(BlockId(id))
    }
}

impl FromStr for BlockId {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        BlockId::try_from(id.to_owned())
    }
}

impl From<BlockId> for String {
    fn from(id: BlockId) -> String {
        id.0
    }
}

/// A table, view or other relation. Written `table` (in schema `public`) or `schema.table`; names are as PostgreSQL stores
/// them, so upper case stays upper case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct TableName {
    /// The schema, `public` if none was written.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// A table by schema and name.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> TableName {
        TableName { schema: schema.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema == "public" { f.write_str(&self.table) } else { write!(f, "{}.{}", self.schema, self.table) }
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> String {
        name.to_string()
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parts(text)?.as_slice() {
            [table] => Ok(TableName::new("public", *table)),
            [schema, table] => Ok(TableName::new(*schema, *table)),
            _ => Err(format!("`{text}` is no table: write `table` or `schema.table`")),
        }
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One column of a table, written `table.column` or `schema.table.column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnName {
    /// The table.
    pub table: TableName,
    /// The column.
    pub column: String,
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl FromStr for ColumnName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parts(text)?.as_slice() {
            [table, column] => Ok(ColumnName { table: TableName::new("public", *table), column: (*column).to_owned() }),
            [schema, table, column] => Ok(ColumnName { table: TableName::new(*schema, *table), column: (*column).to_owned() }),
            _ => Err(format!("`{text}` is no column: write `table.column` or `schema.table.column`")),
        }
    }
}

/// What a block reads or writes: one column (`table.column`) or a table with all its columns, rows coming and going
/// included (`table.*`; `schema.table.*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Columns {
    /// The table.
    pub table: TableName,
    /// The column; none means all of them.
    pub column: Option<String>,
}

impl Columns {
    /// Whether the two name a column in common.
    pub fn overlaps(&self, other: &Columns) -> bool {
        self.table == other.table
            && match (&self.column, &other.column) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => true,
            }
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column.as_deref().unwrap_or("*"))
    }
}

impl From<Columns> for String {
    fn from(columns: Columns) -> String {
        columns.to_string()
    }
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: ColumnName =
            text.strip_suffix(".*").map_or_else(|| text.parse(), |table| format!("{table}.{ANY}").parse()).map_err(|_| {
                format!(
                    "`{text}` names no columns: write `table.column` or `table.*`, with `schema.` before it if it is not public"
                )
            })?;
        Ok(Columns { table: name.table, column: (name.column != ANY).then_some(name.column) })
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Stands for `*` while a name is taken apart; no identifier holds a control character.
const ANY: &str = "\u{1}";

fn parts(text: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.iter().any(|part| part.is_empty() || part.len() > LONGEST_NAME || part.contains(char::is_whitespace)) {
        return Err(format!("`{text}` is no name: each part has 1 to {LONGEST_NAME} characters and no space"));
    }
    Ok(parts)
}
