//! From values to a column's bytes. A value goes only to a type that holds it without loss, as in statements.

use super::{
    numeric,
    wire::{Base, Wire},
};
use crate::types::{Array, Date, Interval, Json, Numeric, Scalar, Time, Timestamp, TimestampTz, Uuid, Value};

/// A type that can be a field of a row that is written.
pub trait ToWire {
    /// Appends the bytes, or nothing and false for NULL.
    ///
    /// # Errors
    ///
    /// A sentence, if the column has another type.
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String>;
}

fn wrong<T>(given: &str, wire: Wire) -> Result<T, String> {
    let array = if wire.array { "an array of " } else { "" };
    Err(format!("{given} was given, the column is {array}{}", wire.base.name()))
}

fn integer(value: i64, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
    let too_large = || format!("{value} does not fit into {}", wire.base.name());
    match wire {
        Wire { base: Base::Int2, array: false } => {
            out.extend_from_slice(&i16::try_from(value).map_err(|_| too_large())?.to_be_bytes())
        }
        Wire { base: Base::Int4, array: false } => {
            out.extend_from_slice(&i32::try_from(value).map_err(|_| too_large())?.to_be_bytes())
        }
        Wire { base: Base::Int8, array: false } => out.extend_from_slice(&value.to_be_bytes()),
        Wire { base: Base::Oid, array: false } => {
            out.extend_from_slice(&u32::try_from(value).map_err(|_| too_large())?.to_be_bytes())
        }
        Wire { base: Base::Numeric, array: false } => numeric::encode(&value.to_string(), out)?,
        _ => return wrong("an integer", wire),
    }
    Ok(true)
}

fn text(value: &str, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
    if wire.array || !wire.base.is_text() {
        return wrong("a text", wire);
    }
    out.extend_from_slice(value.as_bytes());
    Ok(true)
}

fn json(value: &str, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
    match wire {
        Wire { base: Base::Json, array: false } => {}
        // The format's version.
        Wire { base: Base::Jsonb, array: false } => out.push(1),
        _ => return wrong("a json document", wire),
    }
    out.extend_from_slice(value.as_bytes());
    Ok(true)
}

fn interval(value: &Interval, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.microseconds.to_be_bytes());
    out.extend_from_slice(&value.days.to_be_bytes());
    out.extend_from_slice(&value.months.to_be_bytes());
}

macro_rules! to_wire {
    ($($rust:ty, $given:literal, $base:ident, |$value:ident, $out:ident| $write:expr;)*) => {$(
        impl ToWire for $rust {
            fn to_wire(&self, wire: Wire, $out: &mut Vec<u8>) -> Result<bool, String> {
                if wire != (Wire { base: Base::$base, array: false }) {
                    return wrong($given, wire);
                }
                let $value = self;
                $write;
                Ok(true)
            }
        }
    )*};
}

to_wire! {
    bool, "a boolean", Bool, |value, out| out.push(u8::from(*value));
    f64, "a double precision", Float8, |value, out| out.extend_from_slice(&value.to_be_bytes());
    [u8], "a bytea", Bytea, |value, out| out.extend_from_slice(value);
    Vec<u8>, "a bytea", Bytea, |value, out| out.extend_from_slice(value);
    Uuid, "a uuid", Uuid, |value, out| out.extend_from_slice(&value.0);
    Date, "a date", Date, |value, out| out.extend_from_slice(&value.0.to_be_bytes());
    Time, "a time", Time, |value, out| out.extend_from_slice(&value.0.to_be_bytes());
    Timestamp, "a timestamp without time zone", Timestamp, |value, out| out.extend_from_slice(&value.0.to_be_bytes());
    TimestampTz, "a timestamp with time zone", Timestamptz, |value, out| out.extend_from_slice(&value.0.to_be_bytes());
    Interval, "an interval", Interval, |value, out| interval(value, out);
    Numeric, "a numeric", Numeric, |value, out| numeric::encode(&value.0, out)?;
}

impl ToWire for f32 {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        match wire {
            Wire { base: Base::Float4, array: false } => out.extend_from_slice(&self.to_be_bytes()),
            Wire { base: Base::Float8, array: false } => out.extend_from_slice(&f64::from(*self).to_be_bytes()),
            _ => return wrong("a real", wire),
        }
        Ok(true)
    }
}

macro_rules! integers {
    ($($rust:ty),*) => {$(
        impl ToWire for $rust {
            fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
                integer(i64::from(*self), wire, out)
            }
        }
    )*};
}

integers!(i16, i32, i64);

impl ToWire for str {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        text(self, wire, out)
    }
}

impl ToWire for String {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        text(self, wire, out)
    }
}

impl ToWire for Json {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        json(&self.0, wire, out)
    }
}

impl<T: ToWire + ?Sized> ToWire for &T {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        (**self).to_wire(wire, out)
    }
}

impl<T: ToWire> ToWire for Option<T> {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        self.as_ref().map_or(Ok(false), |value| value.to_wire(wire, out))
    }
}

impl ToWire for Scalar {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        match self {
            Scalar::Null => Ok(false),
            Scalar::Boolean(value) => value.to_wire(wire, out),
            Scalar::Int2(value) => value.to_wire(wire, out),
            Scalar::Int4(value) => value.to_wire(wire, out),
            Scalar::Int8(value) => value.to_wire(wire, out),
            Scalar::Float4(value) => value.to_wire(wire, out),
            Scalar::Float8(value) => value.to_wire(wire, out),
            Scalar::Numeric(value) if wire == (Wire { base: Base::Numeric, array: false }) => {
                numeric::encode(value, out).map(|()| true)
            }
            Scalar::Numeric(_) => wrong("a numeric", wire),
            Scalar::Text(value) => text(value, wire, out),
            Scalar::Bytea(value) => value.to_wire(wire, out),
            Scalar::Uuid((high, low)) => Uuid(((u128::from(*high) << 64) | u128::from(*low)).to_be_bytes()).to_wire(wire, out),
            Scalar::Date(value) => Date(*value).to_wire(wire, out),
            Scalar::Time(value) => Time(*value).to_wire(wire, out),
            Scalar::Timestamp(value) => Timestamp(*value).to_wire(wire, out),
            Scalar::Timestamptz(value) => TimestampTz(*value).to_wire(wire, out),
            Scalar::Interval(value) => value.to_wire(wire, out),
            Scalar::Jsonb(value) => json(value, wire, out),
            // A label's bytes are its text.
            Scalar::Other(value) => text(&value.text, wire, out),
        }
    }
}

impl ToWire for Array {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        if !wire.array {
            return wrong("an array", wire);
        }
        let number = |number: usize| i32::try_from(number).map_err(|_| "the array is too large".to_owned());
        let nulls = self.elements.iter().any(|element| matches!(element, Scalar::Null));
        out.extend_from_slice(&number(self.dimensions.len())?.to_be_bytes());
        out.extend_from_slice(&i32::from(nulls).to_be_bytes());
        out.extend_from_slice(&wire.base.oid().to_be_bytes());
        for dimension in &self.dimensions {
            out.extend_from_slice(&dimension.length.to_be_bytes());
            out.extend_from_slice(&dimension.lower_bound.to_be_bytes());
        }
        for element in &self.elements {
            field(element, Wire { base: wire.base, array: false }, out)?;
        }
        Ok(true)
    }
}

impl ToWire for Value {
    fn to_wire(&self, wire: Wire, out: &mut Vec<u8>) -> Result<bool, String> {
        match self {
            Value::Scalar(scalar) => scalar.to_wire(wire, out),
            Value::Array(array) => array.to_wire(wire, out),
        }
    }
}

/// Appends a field of a row: its length, -1 for NULL, and its bytes.
///
/// # Errors
///
/// A sentence, if the column has another type. Then nothing was appended.
pub fn field(value: &(impl ToWire + ?Sized), wire: Wire, out: &mut Vec<u8>) -> Result<(), String> {
    let at = out.len();
    out.extend_from_slice(&[0xff; 4]);
    match value.to_wire(wire, out) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let length = i32::try_from(out.len() - at - 4).map_err(|_| "the value is too large".to_owned())?;
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&length.to_be_bytes());
            }
            Ok(())
        }
        Err(message) => {
            out.truncate(at);
            Err(message)
        }
    }
}
