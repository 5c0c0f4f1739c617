//! From a column's bytes to a value.

use crate::{Array, Dimension, Interval, Scalar, TypedText, Value, base, numeric, type_name};
use postgres_protocol::types as wire;
use postgres_types::{FromSql, Kind, Type};
use std::error::Error;

/// A column's bytes, whatever its type; none is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub Option<&'a [u8]>);

/// A column's bytes are not what its type says. A server does not send such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of type {type_name} cannot be read: {reason}")]
pub struct Unreadable {
    type_name: String,
    reason: String,
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Whether the contract has a case for the type. The rest is asked for as text.
pub fn is_native(of: &Type) -> bool {
    match of.kind() {
        Kind::Array(element) => is_native_scalar(element),
        Kind::Domain(inner) => is_native(inner),
        _ => is_native_scalar(of),
    }
}

fn is_native_scalar(of: &Type) -> bool {
    const NATIVE: [Type; 22] = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::UNKNOWN,
        Type::BYTEA,
        Type::UUID,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::INTERVAL,
        Type::JSON,
        Type::JSONB,
    ];
    NATIVE.contains(base(of)) || *of == Type::VOID
}

/// Reads a column. `declared` is the type that the statement gives it; if that is not native, the bytes are those of its
/// text form, which was asked for instead.
///
/// # Errors
///
/// [`Unreadable`], if the bytes are not what the type says.
pub fn decode(declared: &Type, raw: Option<&[u8]>) -> Result<Value, Unreadable> {
    let Some(bytes) = raw else { return Ok(Value::Scalar(Scalar::Null)) };
    let read = match base(declared).kind() {
        Kind::Array(element) => array(element, bytes).map(Value::Array),
        _ => scalar(declared, bytes).map(Value::Scalar),
    };
    read.map_err(|error| Unreadable { type_name: declared.name().to_owned(), reason: error.to_string() })
}

fn array(element: &Type, bytes: &[u8]) -> Result<Array, Box<dyn Error + Sync + Send>> {
    use fallible_iterator::FallibleIterator;
    let array = wire::array_from_sql(bytes)?;
    // One after the other: to collect them would make room for as many as the bytes say there are.
    let (mut dimensions, mut elements) = (Vec::new(), Vec::new());
    let mut all = array.dimensions();
    while let Some(dimension) = all.next()? {
        dimensions.push(Dimension { length: u32::try_from(dimension.len)?, lower_bound: dimension.lower_bound });
    }
    let mut all = array.values();
    while let Some(value) = all.next()? {
        elements.push(value.map_or(Ok(Scalar::Null), |bytes| scalar(element, bytes))?);
    }
    Ok(Array { element_type: type_name(element), dimensions, elements })
}

fn scalar(declared: &Type, bytes: &[u8]) -> Result<Scalar, Box<dyn Error + Sync + Send>> {
    let text = || wire::text_from_sql(bytes).map(str::to_owned);
    Ok(match *base(declared) {
        Type::BOOL => Scalar::Boolean(wire::bool_from_sql(bytes)?),
        Type::INT2 => Scalar::Int2(wire::int2_from_sql(bytes)?),
        Type::INT4 => Scalar::Int4(wire::int4_from_sql(bytes)?),
        Type::INT8 => Scalar::Int8(wire::int8_from_sql(bytes)?),
        Type::OID => Scalar::Int8(i64::from(wire::oid_from_sql(bytes)?)),
        Type::FLOAT4 => Scalar::Float4(wire::float4_from_sql(bytes)?),
        Type::FLOAT8 => Scalar::Float8(wire::float8_from_sql(bytes)?),
        Type::NUMERIC => Scalar::Numeric(numeric::to_text(bytes).ok_or("malformed numeric")?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Scalar::Text(text()?),
        Type::BYTEA => Scalar::Bytea(bytes.to_vec()),
        Type::UUID => {
            let all = u128::from_be_bytes(wire::uuid_from_sql(bytes)?);
            Scalar::Uuid((u64::try_from(all >> 64)?, u64::try_from(all & u128::from(u64::MAX))?))
        }
        Type::DATE => Scalar::Date(wire::date_from_sql(bytes)?),
        Type::TIME => Scalar::Time(wire::time_from_sql(bytes)?),
        Type::TIMESTAMP => Scalar::Timestamp(wire::timestamp_from_sql(bytes)?),
        Type::TIMESTAMPTZ => Scalar::Timestamptz(wire::timestamp_from_sql(bytes)?),
        Type::INTERVAL => Scalar::Interval(interval(bytes)?),
        Type::JSON => Scalar::Jsonb(text()?),
        Type::JSONB => match bytes.split_first() {
            // The format's version.
            Some((1, document)) => Scalar::Jsonb(wire::text_from_sql(document)?.to_owned()),
            _ => return Err("unknown format of jsonb".into()),
        },
        Type::VOID => Scalar::Null,
        _ => Scalar::Other(TypedText { type_name: type_name(declared), text: text()? }),
    })
}

fn interval(bytes: &[u8]) -> Result<Interval, Box<dyn Error + Sync + Send>> {
    let (time, rest) = bytes.split_at_checked(8).ok_or("too short")?;
    let (days, months) = rest.split_at_checked(4).ok_or("too short")?;
    Ok(Interval {
        microseconds: wire::int8_from_sql(time)?,
        days: wire::int4_from_sql(days)?,
        months: wire::int4_from_sql(months)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: room was made for them before the first was read.
    #[test]
    fn an_array_that_says_it_has_a_billion_elements_is_refused() {
        let head = [1, 0, 23, 1 << 30, 1].map(i32::to_be_bytes).concat();
        assert!(decode(&Type::INT4_ARRAY, Some(&[head, vec![0xff; 4]].concat())).is_err());
    }
}
