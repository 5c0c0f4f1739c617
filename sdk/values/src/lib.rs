//! Values between Plinth's contract and PostgreSQL: what the host sends for a component and what the test kit sends for a block
//! that runs natively, so that a block meets the same conversions in both.
//!
//! A parameter goes only to a type that holds it without loss; nothing is guessed. A column of a type that the contract has no
//! case for is read as text, which whoever asks has to ask for: see [`is_native`].
//!
//! The types here are those of `wit/types.wit`. What a binding generator makes of that file are other types with the same parts:
//! [`contract!`] makes the way to them and back.
//!
//! ```
//! use plinth_values::{Scalar, Value, decode, parameters};
//! use postgres_types::Type;
//!
//! let three = [Value::Scalar(Scalar::Int8(3))];
//! assert!(parameters(&three, &[Type::INT2]).is_ok());
//! let misfit = parameters(&three, &[Type::TEXT]).unwrap_err();
//! assert_eq!(misfit.to_string(), "parameter $1: a bigint was given, the statement wants text");
//! assert_eq!(decode(&Type::INT2, Some(&[0, 3])), Ok(Value::Scalar(Scalar::Int2(3))));
//! ```

mod contract;
mod decode;
mod encode;
mod numeric;

pub use decode::{Raw, Unreadable, decode, is_native};
pub use encode::{Misfit, Parameter, parameters};

use postgres_types::{Kind, Type};

/// A parameter of a statement or a field of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Anything but an array.
    Scalar(Scalar),
    /// An array.
    Array(Array),
}

/// One value that is not an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// SQL's NULL, of any type.
    Null,
    /// boolean
    Boolean(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// real
    Float4(f32),
    /// double precision
    Float8(f64),
    /// numeric, as PostgreSQL prints it, all digits kept.
    Numeric(String),
    /// text, varchar, char(n) and name.
    Text(String),
    /// bytea
    Bytea(Vec<u8>),
    /// uuid: the first and the last eight bytes, most significant byte first.
    Uuid((u64, u64)),
    /// date: days since 2000-01-01. The largest and the smallest are `infinity` and `-infinity`.
    Date(i32),
    /// time: microseconds since midnight.
    Time(i64),
    /// timestamp: microseconds since 2000-01-01 00:00. The largest and the smallest are `infinity` and `-infinity`.
    Timestamp(i64),
    /// The same with time zone, since 2000-01-01 00:00 UTC.
    Timestamptz(i64),
    /// interval
    Interval(Interval),
    /// A JSON document as text, of type json or jsonb.
    Jsonb(String),
    /// Every other type, as text.
    Other(TypedText),
}

/// An interval, its three parts kept apart as the server keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub microseconds: i64,
}

/// A value of a type that has no case of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedText {
    /// The type as [`type_name`] shows it. Empty in a parameter: any type.
    pub type_name: String,
    /// The value as the type's output function prints it and its input function reads it.
    pub text: String,
}

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements.
    pub length: u32,
    /// The index of the first.
    pub lower_bound: i32,
}

/// An array of any number of dimensions. An empty one has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The elements' type as [`type_name`] shows it.
    pub element_type: String,
    /// The dimensions, outermost first.
    pub dimensions: Vec<Dimension>,
    /// All elements in row-major order; as many as the dimensions' lengths multiplied.
    pub elements: Vec<Scalar>,
}

/// A type's name as the contract shows it: with its schema, unless that is `pg_catalog`.
pub fn type_name(of: &Type) -> String {
    if of.schema() == "pg_catalog" { of.name().to_owned() } else { format!("{}.{}", of.schema(), of.name()) }
}

/// A domain is sent and read as what it is made of.
pub fn base(of: &Type) -> &Type {
    match of.kind() {
        Kind::Domain(inner) => base(inner),
        _ => of,
    }
}
