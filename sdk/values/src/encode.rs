//! From a value to a parameter's bytes. A value goes only to a type that holds it without loss; nothing is guessed.

use crate::{Array, Scalar, Value, base, type_name};
use bytes::{BufMut, BytesMut};
use postgres_protocol::{IsNull as WireNull, types as wire};
use postgres_types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};
use std::error::Error;

/// A parameter that fits its type.
#[derive(Debug)]
pub struct Parameter {
    value: Encoded,
}

#[derive(Debug)]
enum Encoded {
    Null,
    Binary(BytesMut),
    /// As the type's input function reads it: what has no binary form of its own here.
    Text(String),
}

/// A value that the statement does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", parameter.map(|number| format!("parameter ${number}: ")).unwrap_or_default())]
pub struct Misfit {
    /// The parameter's number, from 1; none if there are too many or too few.
    pub parameter: Option<u32>,
    /// What was given and what is wanted, without the value.
    pub message: String,
}

/// Fits a statement's parameters to the types that it wants.
///
/// # Errors
///
/// The first that does not fit, by its number; or that there are too many or too few.
pub fn parameters(values: &[Value], types: &[Type]) -> Result<Vec<Parameter>, Misfit> {
    if values.len() != types.len() {
        let message = format!("the statement has {} parameters, {} were given", types.len(), values.len());
        return Err(Misfit { parameter: None, message });
    }
    values
        .iter()
        .zip(types)
        .zip(1_u32..)
        .map(|((value, of), number)| fit(value, of).map_err(|message| Misfit { parameter: Some(number), message }))
        .collect()
}

fn fit(value: &Value, of: &Type) -> Result<Parameter, String> {
    let encoded = match (value, base(of).kind()) {
        (Value::Array(array), Kind::Array(element)) => fit_array(array, element, of)?,
        (Value::Array(_), _) => return Err(format!("an array was given, the statement wants {}", of.name())),
        (Value::Scalar(scalar), _) => fit_scalar(scalar, of)?,
    };
    Ok(Parameter { value: encoded })
}

fn fit_scalar(scalar: &Scalar, of: &Type) -> Result<Encoded, String> {
    let mut out = BytesMut::new();
    let integer = |value: i64| -> Option<Encoded> {
        let mut out = BytesMut::new();
        match *base(of) {
            Type::INT2 => wire::int2_to_sql(i16::try_from(value).ok()?, &mut out),
            Type::INT4 => wire::int4_to_sql(i32::try_from(value).ok()?, &mut out),
            Type::INT8 => wire::int8_to_sql(value, &mut out),
            Type::OID => wire::oid_to_sql(u32::try_from(value).ok()?, &mut out),
            Type::NUMERIC => return Some(Encoded::Text(value.to_string())),
            _ => return None,
        }
        Some(Encoded::Binary(out))
    };
    let wrong = |given: &str| Err(format!("{given} was given, the statement wants {}", of.name()));
    let no_integer = |given: &str| {
        let integer = matches!(*base(of), Type::INT2 | Type::INT4 | Type::OID);
        wrong(&if integer { format!("{given} out of its range") } else { given.to_owned() })
    };
    match (scalar, base(of)) {
        (Scalar::Null, _) => return Ok(Encoded::Null),
        (Scalar::Boolean(v), &Type::BOOL) => wire::bool_to_sql(*v, &mut out),
        (Scalar::Boolean(_), _) => return wrong("a boolean"),
        (Scalar::Int2(v), _) => return integer((*v).into()).map_or_else(|| no_integer("a smallint"), Ok),
        (Scalar::Int4(v), _) => return integer((*v).into()).map_or_else(|| no_integer("an integer"), Ok),
        (Scalar::Int8(v), _) => return integer(*v).map_or_else(|| no_integer("a bigint"), Ok),
        (Scalar::Float4(v), &Type::FLOAT4) => wire::float4_to_sql(*v, &mut out),
        (Scalar::Float4(v), &Type::FLOAT8) => wire::float8_to_sql((*v).into(), &mut out),
        (Scalar::Float4(_), _) => return wrong("a real"),
        (Scalar::Float8(v), &Type::FLOAT8) => wire::float8_to_sql(*v, &mut out),
        (Scalar::Float8(_), _) => return wrong("a double precision"),
        (Scalar::Numeric(text), &Type::NUMERIC) => return Ok(Encoded::Text(text.clone())),
        (Scalar::Numeric(_), _) => return wrong("a numeric"),
        (Scalar::Text(text), _) => {
            if text.contains('\0') {
                return Err("a text with a NUL character was given: PostgreSQL cannot keep one".into());
            }
            return match (base(of), base(of).kind()) {
                (&(Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN), _) | (_, Kind::Enum(_)) => {
                    Ok(Encoded::Text(text.clone()))
                }
                // An extension's text, case-insensitive.
                (other, _) if other.name() == "citext" => Ok(Encoded::Text(text.clone())),
                _ => wrong("a text"),
            };
        }
        (Scalar::Bytea(bytes), &Type::BYTEA) => wire::bytea_to_sql(bytes, &mut out),
        (Scalar::Bytea(_), _) => return wrong("a bytea"),
        (Scalar::Uuid((high, low)), &Type::UUID) => {
            wire::uuid_to_sql(((u128::from(*high) << 64) | u128::from(*low)).to_be_bytes(), &mut out);
        }
        (Scalar::Uuid(_), _) => return wrong("a uuid"),
        (Scalar::Date(days), &Type::DATE) => wire::date_to_sql(*days, &mut out),
        (Scalar::Date(_), _) => return wrong("a date"),
        (Scalar::Time(v), &Type::TIME) => wire::time_to_sql(*v, &mut out),
        (Scalar::Time(_), _) => return wrong("a time"),
        (Scalar::Timestamp(v), &Type::TIMESTAMP) | (Scalar::Timestamptz(v), &Type::TIMESTAMPTZ) => {
            wire::timestamp_to_sql(*v, &mut out);
        }
        (Scalar::Timestamp(_), _) => return wrong("a timestamp without time zone"),
        (Scalar::Timestamptz(_), _) => return wrong("a timestamp with time zone"),
        (Scalar::Interval(v), &Type::INTERVAL) => {
            out.put_i64(v.microseconds);
            out.put_i32(v.days);
            out.put_i32(v.months);
        }
        (Scalar::Interval(_), _) => return wrong("an interval"),
        (Scalar::Jsonb(text), &(Type::JSON | Type::JSONB)) => return Ok(Encoded::Text(text.clone())),
        (Scalar::Jsonb(_), _) => return wrong("a json document"),
        (Scalar::Other(typed), _) => {
            let named = typed.type_name.is_empty() || typed.type_name == of.name() || typed.type_name == type_name(of);
            return if named {
                Ok(Encoded::Text(typed.text.clone()))
            } else {
                wrong(&format!("a value of type {}", typed.type_name))
            };
        }
    }
    Ok(Encoded::Binary(out))
}

fn fit_array(array: &Array, element: &Type, of: &Type) -> Result<Encoded, String> {
    let expected = array.dimensions.iter().try_fold(1_u32, |all, dimension| all.checked_mul(dimension.length));
    let expected = if array.dimensions.is_empty() { Some(0) } else { expected };
    if expected.map(u64::from) != u64::try_from(array.elements.len()).ok() {
        return Err(format!("the array has {} elements, which its dimensions do not give", array.elements.len()));
    }
    let elements = array
        .elements
        .iter()
        .zip(1..)
        .map(|(scalar, place)| fit_scalar(scalar, element).map_err(|message| format!("element {place} of the array: {message}")))
        .collect::<Result<Vec<Encoded>, String>>()?;
    if elements.iter().any(|element| matches!(element, Encoded::Text(_))) && !is_text(element) {
        return text_array(array, elements, element, of).map(Encoded::Text);
    }
    let mut out = BytesMut::new();
    let dimensions = array.dimensions.iter().map(|dimension| wire::ArrayDimension {
        len: i32::try_from(dimension.length).unwrap_or(i32::MAX),
        lower_bound: dimension.lower_bound,
    });
    let write = |element: &Encoded, buf: &mut BytesMut| match element {
        Encoded::Null => Ok(WireNull::Yes),
        Encoded::Binary(bytes) => {
            buf.put_slice(bytes);
            Ok(WireNull::No)
        }
        // A text's binary form is its text.
        Encoded::Text(text) => {
            buf.put_slice(text.as_bytes());
            Ok(WireNull::No)
        }
    };
    wire::array_to_sql(dimensions, element.oid(), elements.iter(), write, &mut out).map_err(|error| error.to_string())?;
    Ok(Encoded::Binary(out))
}

fn is_text(of: &Type) -> bool {
    matches!(*base(of), Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON)
        || matches!(base(of).kind(), Kind::Enum(_))
}

/// An array as its input function reads it: `[0:1]={"a",NULL}`. For elements that go as text.
fn text_array(array: &Array, elements: Vec<Encoded>, element: &Type, of: &Type) -> Result<String, String> {
    let mut texts = Vec::with_capacity(elements.len());
    for element in elements {
        texts.push(match element {
            Encoded::Null => "NULL".to_owned(),
            Encoded::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            // Integers may be elements of a numeric array, whose other elements go as text.
            Encoded::Binary(_) => return Err(format!("elements of different types were given for {}", of.name())),
        });
    }
    let bounds: String = array
        .dimensions
        .iter()
        .map(|d| format!("[{}:{}]", d.lower_bound, i64::from(d.lower_bound) + i64::from(d.length) - 1))
        .collect();
    for dimension in array.dimensions.iter().rev() {
        let length = usize::try_from(dimension.length).unwrap_or(usize::MAX).max(1);
        texts = texts.chunks(length).map(|chunk| format!("{{{}}}", chunk.join(delimiter(element)))).collect();
    }
    Ok(match texts.pop() {
        Some(text) if !bounds.is_empty() => format!("{bounds}={text}"),
        _ => "{}".to_owned(),
    })
}

/// What stands between the elements of an array's text: the type's `typdelim`, a comma but for these.
fn delimiter(element: &Type) -> &'static str {
    match base(element) {
        &Type::BOX => ";",
        // PostGIS.
        other if matches!(other.name(), "geometry" | "geography") => ":",
        _ => ",",
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.value {
            Encoded::Null => return Ok(IsNull::Yes),
            Encoded::Binary(bytes) => out.put_slice(bytes),
            Encoded::Text(text) => out.put_slice(text.as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if matches!(self.value, Encoded::Text(_)) { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misfit_tells_types_and_no_value() {
        for (value, of, told) in [
            (Scalar::Int8(7_123_456_789), Type::INT4, "a bigint out of its range was given, the statement wants int4"),
            (Scalar::Int4(7_123), Type::TEXT, "an integer was given, the statement wants text"),
            (Scalar::Text("secret 7123".into()), Type::UUID, "a text was given, the statement wants uuid"),
            (Scalar::Numeric("7123".into()), Type::INT4, "a numeric was given, the statement wants int4"),
        ] {
            let misfit = parameters(&[Value::Scalar(value)], &[of]).unwrap_err();
            assert_eq!((misfit.parameter, misfit.message.as_str()), (Some(1), told));
        }
    }
}
