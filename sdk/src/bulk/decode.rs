//! From a column's bytes to values.

use super::{
    numeric,
    wire::{Base, Wire},
};
use crate::types::{Array, Date, Dimension, Interval, Json, Numeric, Scalar, Time, Timestamp, TimestampTz, Uuid, Value};

/// A type that a field of a row can be read as. Texts and bytes can be borrowed from the row.
pub trait FromWire<'a>: Sized {
    /// Reads a field; none is NULL.
    ///
    /// # Errors
    ///
    /// A sentence about what was found instead.
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String>;
}

fn found<T>(expected: &str, wire: Wire) -> Result<T, String> {
    let array = if wire.array { "an array of " } else { "" };
    Err(format!("{expected} was expected, the column is {array}{}", wire.base.name()))
}

fn there<'a>(expected: &str, bytes: Option<&'a [u8]>) -> Result<&'a [u8], String> {
    bytes.ok_or_else(|| format!("{expected} was expected, NULL was found (read it as an Option)"))
}

fn array_of<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("{N} bytes were expected, {} were found", bytes.len()))
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "the text is no UTF-8".to_owned())
}

macro_rules! from_wire {
    ($($rust:ty, $expected:literal, $($base:ident)|+ => |$bytes:ident| $read:expr;)*) => {$(
        impl<'a> FromWire<'a> for $rust {
            fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
                match wire {
                    $(Wire { base: Base::$base, array: false })|+ => {
                        let $bytes = there($expected, bytes)?;
                        Ok($read)
                    }
                    _ => found($expected, wire),
                }
            }
        }
    )*};
}

from_wire! {
    bool, "a boolean", Bool => |bytes| array_of::<1>(bytes)? != [0];
    i16, "a smallint", Int2 => |bytes| i16::from_be_bytes(array_of(bytes)?);
    f32, "a real", Float4 => |bytes| f32::from_be_bytes(array_of(bytes)?);
    &'a str, "a text", Text | Varchar | Bpchar | Name | Unknown | Json => |bytes| utf8(bytes)?;
    String, "a text", Text | Varchar | Bpchar | Name | Unknown => |bytes| utf8(bytes)?.to_owned();
    &'a [u8], "a bytea", Bytea => |bytes| bytes;
    Vec<u8>, "a bytea", Bytea => |bytes| bytes.to_vec();
    Uuid, "a uuid", Uuid => |bytes| Uuid(array_of(bytes)?);
    Date, "a date", Date => |bytes| Date(i32::from_be_bytes(array_of(bytes)?));
    Time, "a time", Time => |bytes| Time(i64::from_be_bytes(array_of(bytes)?));
    Timestamp, "a timestamp", Timestamp => |bytes| Timestamp(i64::from_be_bytes(array_of(bytes)?));
    TimestampTz, "a timestamptz", Timestamptz => |bytes| TimestampTz(i64::from_be_bytes(array_of(bytes)?));
    Numeric, "a numeric", Numeric => |bytes| Numeric(numeric::decode(bytes).ok_or("malformed numeric")?);
    Interval, "an interval", Interval => |bytes| interval(bytes)?;
}

fn interval(bytes: &[u8]) -> Result<Interval, String> {
    let all: [u8; 16] = array_of(bytes)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = all;
    Ok(Interval {
        microseconds: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        days: i32::from_be_bytes([i, j, k, l]),
        months: i32::from_be_bytes([m, n, o, p]),
    })
}

impl<'a> FromWire<'a> for i32 {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        match wire {
            Wire { base: Base::Int4, array: false } => Ok(i32::from_be_bytes(array_of(there("an integer", bytes)?)?)),
            Wire { base: Base::Int2, array: false } => i16::from_wire(wire, bytes).map(i32::from),
            _ => found("an integer", wire),
        }
    }
}

impl<'a> FromWire<'a> for i64 {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        match wire {
            Wire { base: Base::Int8, array: false } => Ok(i64::from_be_bytes(array_of(there("a bigint", bytes)?)?)),
            Wire { base: Base::Oid, array: false } => Ok(u32::from_be_bytes(array_of(there("an oid", bytes)?)?).into()),
            Wire { base: Base::Int4 | Base::Int2, array: false } => i32::from_wire(wire, bytes).map(i64::from),
            _ => found("a bigint", wire),
        }
    }
}

impl<'a> FromWire<'a> for f64 {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        match wire {
            Wire { base: Base::Float8, array: false } => Ok(f64::from_be_bytes(array_of(there("a double precision", bytes)?)?)),
            Wire { base: Base::Float4, array: false } => f32::from_wire(wire, bytes).map(f64::from),
            _ => found("a double precision", wire),
        }
    }
}

impl<'a> FromWire<'a> for Json {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        let document = match (wire, bytes) {
            (Wire { base: Base::Json, array: false }, Some(document)) => document,
            (Wire { base: Base::Jsonb, array: false }, Some([1, document @ ..])) => document,
            (Wire { base: Base::Jsonb, array: false }, Some(_)) => return Err("unknown format of jsonb".to_owned()),
            (Wire { base: Base::Json | Base::Jsonb, array: false }, None) => there("a json document", None)?,
            _ => return found("a json document", wire),
        };
        utf8(document).map(|text| Json(text.to_owned()))
    }
}

impl<'a, T: FromWire<'a>> FromWire<'a> for Option<T> {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        bytes.map(|bytes| T::from_wire(wire, Some(bytes))).transpose()
    }
}

impl<'a> FromWire<'a> for Scalar {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        if bytes.is_none() {
            return Ok(Scalar::Null);
        }
        if wire.array {
            return found("no array", wire);
        }
        Ok(match wire.base {
            Base::Bool => Scalar::Boolean(bool::from_wire(wire, bytes)?),
            Base::Int2 => Scalar::Int2(i16::from_wire(wire, bytes)?),
            Base::Int4 => Scalar::Int4(i32::from_wire(wire, bytes)?),
            Base::Int8 | Base::Oid => Scalar::Int8(i64::from_wire(wire, bytes)?),
            Base::Float4 => Scalar::Float4(f32::from_wire(wire, bytes)?),
            Base::Float8 => Scalar::Float8(f64::from_wire(wire, bytes)?),
            Base::Numeric => Scalar::Numeric(Numeric::from_wire(wire, bytes)?.0),
            Base::Text | Base::Varchar | Base::Bpchar | Base::Name | Base::Unknown => {
                Scalar::Text(String::from_wire(wire, bytes)?)
            }
            Base::Bytea => Scalar::Bytea(Vec::from_wire(wire, bytes)?),
            Base::Uuid => {
                let [a, b, c, d, e, f, g, h, rest @ ..] = Uuid::from_wire(wire, bytes)?.0;
                Scalar::Uuid((u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest)))
            }
            Base::Date => Scalar::Date(Date::from_wire(wire, bytes)?.0),
            Base::Time => Scalar::Time(Time::from_wire(wire, bytes)?.0),
            Base::Timestamp => Scalar::Timestamp(Timestamp::from_wire(wire, bytes)?.0),
            Base::Timestamptz => Scalar::Timestamptz(TimestampTz::from_wire(wire, bytes)?.0),
            Base::Interval => Scalar::Interval(Interval::from_wire(wire, bytes)?),
            Base::Json | Base::Jsonb => Scalar::Jsonb(Json::from_wire(wire, bytes)?.0),
        })
    }
}

impl<'a> FromWire<'a> for Value {
    fn from_wire(wire: Wire, bytes: Option<&'a [u8]>) -> Result<Self, String> {
        match bytes.filter(|_| wire.array) {
            None => Scalar::from_wire(wire, bytes).map(Value::Scalar),
            Some(bytes) => array(wire, bytes).map(Value::Array),
        }
    }
}

fn array(wire: Wire, bytes: &[u8]) -> Result<Array, String> {
    let mut rest = bytes;
    let count = number(&mut rest)?;
    number(&mut rest)?;
    number(&mut rest)?;
    let malformed = || "malformed array".to_owned();
    let count = u32::try_from(count).map_err(|_| malformed())?;
    let mut dimensions = Vec::new();
    let mut elements = i32::from(count > 0);
    for _ in 0..count {
        let (length, lower_bound) = (number(&mut rest)?, number(&mut rest)?);
        elements = elements.checked_mul(length).ok_or_else(malformed)?;
        let length = u32::try_from(length).map_err(|_| malformed())?;
        dimensions.push(Dimension { length, lower_bound });
    }
    let element = Wire { base: wire.base, array: false };
    let mut values = Vec::new();
    for _ in 0..elements {
        values.push(Scalar::from_wire(element, field(&mut rest)?)?);
    }
    if !rest.is_empty() {
        return Err(malformed());
    }
    Ok(Array { element_type: wire.base.name().to_owned(), dimensions, elements: values })
}

fn number(rest: &mut &[u8]) -> Result<i32, String> {
    let (bytes, after) = rest.split_first_chunk::<4>().ok_or("the row ends too early")?;
    *rest = after;
    Ok(i32::from_be_bytes(*bytes))
}

/// Takes a field off the front: its length, -1 for NULL, and its bytes.
///
/// # Errors
///
/// If there are fewer bytes than it says.
pub fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    let length = number(rest)?;
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    let (bytes, after) = rest.split_at_checked(length).ok_or("the row ends too early")?;
    *rest = after;
    Ok(Some(bytes))
}
