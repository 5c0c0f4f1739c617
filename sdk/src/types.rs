//! Values that Rust has no type for, in PostgreSQL's own units, and the contract's value types.
//!
//! Each newtype stands for one PostgreSQL type, so that binding a value as the wrong type does not compile.

pub use crate::bindings::migration::plinth::block::types::{
    Array, BulkColumn, Check, Column, DatabaseError, Dimension, Error as ContractError, Failure, Interval,
    Outcome as ContractOutcome, Refusal, Rows as ContractRows, Scalar, TypedText, Value, ValueError,
};

/// numeric, as PostgreSQL prints it, with all its digits: `-12.3400`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric(pub String);

/// uuid, most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// date: days since 2000-01-01. `i32::MAX` and `i32::MIN` are `infinity` and `-infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

/// time: microseconds since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// timestamp: microseconds since 2000-01-01 00:00. `i64::MAX` and `i64::MIN` are `infinity` and `-infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// timestamptz: microseconds since 2000-01-01 00:00 UTC. `i64::MAX` and `i64::MIN` are `infinity` and `-infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampTz(pub i64);

/// json or jsonb, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub String);

/// A value of any other type, by the type's name and the text that its input function reads: an enum's label, a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The type as PostgreSQL names it, such as `inet` or `mood`.
    pub type_name: String,
    /// The value as text.
    pub text: String,
}

impl Other {
    /// A value by type name and text.
    pub fn new(type_name: impl Into<String>, text: impl Into<String>) -> Other {
        Other { type_name: type_name.into(), text: text.into() }
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Interval) -> bool {
        (self.months, self.days, self.microseconds) == (other.months, other.days, other.microseconds)
    }
}
