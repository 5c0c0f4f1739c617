//! From the contract's values to Rust's.

use crate::{
    Result, Row, SqlError,
    types::{Date, Interval, Json, Numeric, Other, Scalar, Time, Timestamp, TimestampTz, Uuid, Value},
};

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// A sentence about what was found instead.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// A type that a row can be read as: a value (the row has one column), a tuple of up to eight.
pub trait FromRow: Sized {
    /// Reads a row.
    ///
    /// # Errors
    ///
    /// If the number of columns or a column's type is another.
    fn from_row(row: &Row<'_>) -> Result<Self, SqlError>;
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "an array",
        Value::Scalar(scalar) => match scalar {
            Scalar::Null => "NULL (read it as an Option)",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Int2(_) => "a smallint",
            Scalar::Int4(_) => "an integer",
            Scalar::Int8(_) => "a bigint",
            Scalar::Float4(_) => "a real",
            Scalar::Float8(_) => "a double precision",
            Scalar::Numeric(_) => "a numeric",
            Scalar::Text(_) => "a text",
            Scalar::Bytea(_) => "a bytea",
            Scalar::Uuid(_) => "a uuid",
            Scalar::Date(_) => "a date",
            Scalar::Time(_) => "a time",
            Scalar::Timestamp(_) => "a timestamp",
            Scalar::Timestamptz(_) => "a timestamptz",
            Scalar::Interval(_) => "an interval",
            Scalar::Jsonb(_) => "a json document",
            Scalar::Other(_) => "a value of another type (read it as Other)",
        },
    }
}

macro_rules! from_value {
    ($($rust:ty, $name:literal, $($pattern:pat => $value:expr),+;)*) => {$(
        impl FromValue for $rust {
            fn from_value(value: &Value) -> Result<Self, String> {
                match value {
                    $(Value::Scalar($pattern) => Ok($value),)+
                    other => Err(format!("{} was expected, {} was found", $name, found(other))),
                }
            }
        }

        impl FromRow for $rust {
            fn from_row(row: &Row<'_>) -> Result<Self, SqlError> {
                row.get(0)
            }
        }
    )*};
}

from_value! {
    bool, "a boolean", Scalar::Boolean(v) => *v;
    i16, "a smallint", Scalar::Int2(v) => *v;
    i32, "an integer", Scalar::Int4(v) => *v, Scalar::Int2(v) => i32::from(*v);
    i64, "a bigint", Scalar::Int8(v) => *v, Scalar::Int4(v) => i64::from(*v), Scalar::Int2(v) => i64::from(*v);
    f32, "a real", Scalar::Float4(v) => *v;
    f64, "a double precision", Scalar::Float8(v) => *v, Scalar::Float4(v) => f64::from(*v);
    String, "a text", Scalar::Text(v) => v.clone();
    Vec<u8>, "a bytea", Scalar::Bytea(v) => v.clone();
    Numeric, "a numeric", Scalar::Numeric(v) => Numeric(v.clone());
    Uuid, "a uuid", Scalar::Uuid((high, low)) => Uuid(((u128::from(*high) << 64) | u128::from(*low)).to_be_bytes());
    Date, "a date", Scalar::Date(v) => Date(*v);
    Time, "a time", Scalar::Time(v) => Time(*v);
    Timestamp, "a timestamp", Scalar::Timestamp(v) => Timestamp(*v);
    TimestampTz, "a timestamptz", Scalar::Timestamptz(v) => TimestampTz(*v);
    Interval, "an interval", Scalar::Interval(v) => *v;
    Json, "a json document", Scalar::Jsonb(v) => Json(v.clone());
    Other, "a value of another type", Scalar::Other(v) => Other::new(v.type_name.as_str(), v.text.as_str());
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Scalar(Scalar::Null) => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl<T: FromValue> FromRow for Option<T> {
    fn from_row(row: &Row<'_>) -> Result<Self, SqlError> {
        row.get(0)
    }
}

/// An element of an array, which `u8` is not: bytes are one value.
pub trait FromElement: FromValue {}

macro_rules! from_element {
    ($($rust:ty),*) => {$(impl FromElement for $rust {})*};
}

from_element!(
    bool,
    i16,
    i32,
    i64,
    f32,
    f64,
    String,
    Vec<u8>,
    Numeric,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Json,
    Other
);

impl<T: FromElement> FromElement for Option<T> {}

impl<T: FromElement> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(array) => array.elements.iter().map(|element| T::from_value(&Value::Scalar(element.clone()))).collect(),
            other => Err(format!("an array was expected, {} was found", found(other))),
        }
    }
}

impl<T: FromElement> FromRow for Vec<T> {
    fn from_row(row: &Row<'_>) -> Result<Self, SqlError> {
        row.get(0)
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self, String> {
        Ok(value.clone())
    }
}

impl FromRow for Value {
    fn from_row(row: &Row<'_>) -> Result<Self, SqlError> {
        row.get(0)
    }
}

macro_rules! from_row_for_tuple {
    ($($name:ident $place:tt),+) => {
        impl<$($name: FromValue),+> FromRow for ($($name,)+) {
            fn from_row(row: &Row<'_>) -> Result<Self, SqlError> {
                Ok(($(row.get::<$name>($place)?,)+))
            }
        }
    };
}

from_row_for_tuple!(A 0);
from_row_for_tuple!(A 0, B 1);
from_row_for_tuple!(A 0, B 1, C 2);
from_row_for_tuple!(A 0, B 1, C 2, D 3);
from_row_for_tuple!(A 0, B 1, C 2, D 3, E 4);
from_row_for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
from_row_for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
from_row_for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
