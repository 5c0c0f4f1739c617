//! What a block writes, and which rows of it.

use crate::Columns;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, ops::Deref};

/// Columns that a block writes, and, where another rule writes them too, which rows of them are its own.
///
/// ```toml
/// writes = [
///   "test_suites.scheduled_testing_eligible",
///   { column = "test_suites.external_cost_cents", rows = "suites of invoice-extract" },
/// ]
/// ```
///
/// Two rules may write one column only if both name their rows, by different names. That the rows are disjoint is what
/// their authors state; the host tries it at every boot in which one of them changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The columns.
    pub columns: Columns,
    /// A name for the rows that this block owns; none means all.
    pub rows: Option<String>,
}

impl Write {
    /// Whether both claim a row of one column.
    pub fn conflicts(&self, other: &Write) -> bool {
        self.columns.overlaps(&other.columns)
            && match (&self.rows, &other.rows) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => true,
            }
    }
}

impl Deref for Write {
    type Target = Columns;

    fn deref(&self) -> &Columns {
        &self.columns
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.columns.fmt(f)?;
        match &self.rows {
            Some(rows) => write!(f, " ({rows})"),
            None => Ok(()),
        }
    }
}

impl Serialize for Write {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.rows {
            None => self.columns.serialize(serializer),
            Some(rows) => WithRows { column: self.columns.clone(), rows: rows.clone() }.serialize(serializer),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WithRows {
    column: Columns,
    rows: String,
}

// By hand, since an untagged enum says of every mistake only that nothing matched.
impl<'de> Deserialize<'de> for Write {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Write;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`table.column`, `table.*`, or { column = \"table.column\", rows = \"which rows\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Write, E> {
                Ok(Write { columns: text.parse().map_err(E::custom)?, rows: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Write, A::Error> {
                let written = WithRows::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Write { columns: written.column, rows: Some(written.rows) })
            }
        }

        deserializer.deserialize_any(Either)
    }
}
