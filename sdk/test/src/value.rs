//! Values between the SDK and PostgreSQL, as the host does it: a parameter goes only to a type that holds it without loss.

use bytes::{BufMut, BytesMut};
use fallible_iterator::FallibleIterator;
use plinth_block::types::{Array, Dimension, Interval, Scalar, TypedText, Value};
use postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use postgres_protocol::types as wire;
use std::error::Error;

type Failed = Box<dyn Error + Sync + Send>;

/// A domain is sent and read as what it is made of.
fn base(of: &Type) -> &Type {
    match of.kind() {
        Kind::Domain(inner) => base(inner),
        _ => of,
    }
}

/// A type's name as the contract shows it.
pub(crate) fn type_name(of: &Type) -> String {
    if of.schema() == "pg_catalog" { of.name().to_owned() } else { format!("{}.{}", of.schema(), of.name()) }
}

/// A parameter, as text that the type's input function reads; none is NULL.
#[derive(Debug)]
pub(crate) struct Parameter(Option<String>);

impl Parameter {
    /// Fits a value to the type that the statement wants.
    pub(crate) fn fit(value: &Value, of: &Type) -> Result<Parameter, String> {
        match (value, base(of).kind()) {
            (Value::Scalar(scalar), _) => text(scalar, of).map(Parameter),
            (Value::Array(array), Kind::Array(element)) => array_text(array, element).map(Some).map(Parameter),
            (Value::Array(_), _) => Err(format!("an array was given, the statement wants {}", of.name())),
        }
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn text(scalar: &Scalar, of: &Type) -> Result<Option<String>, String> {
    const INTEGERS: [Type; 5] = [Type::INT2, Type::INT4, Type::INT8, Type::OID, Type::NUMERIC];
    const TEXTS: [Type; 5] = [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::UNKNOWN];
    let to = base(of);
    let is_text = || TEXTS.contains(to) || matches!(to.kind(), Kind::Enum(_)) || to.name() == "citext";
    let (fits, given, text) = match scalar {
        Scalar::Null => return Ok(None),
        Scalar::Boolean(v) => (*to == Type::BOOL, "a boolean", v.to_string()),
        // One that does not fit is refused by the type's input function.
        Scalar::Int2(v) => (INTEGERS.contains(to), "a smallint", v.to_string()),
        Scalar::Int4(v) => (INTEGERS.contains(to), "an integer", v.to_string()),
        Scalar::Int8(v) => (INTEGERS.contains(to), "a bigint", v.to_string()),
        Scalar::Float4(v) => ([Type::FLOAT4, Type::FLOAT8].contains(to), "a real", v.to_string()),
        Scalar::Float8(v) => (*to == Type::FLOAT8, "a double precision", v.to_string()),
        Scalar::Numeric(v) => (*to == Type::NUMERIC, "a numeric", v.clone()),
        Scalar::Text(v) if v.contains('\0') => return Err("a text with a NUL character was given".to_owned()),
        Scalar::Text(v) => (is_text(), "a text", v.clone()),
        Scalar::Bytea(v) => {
            (*to == Type::BYTEA, "a bytea", v.iter().fold("\\x".to_owned(), |all, byte| format!("{all}{byte:02x}")))
        }
        Scalar::Uuid((high, low)) => (*to == Type::UUID, "a uuid", format!("{high:016x}{low:016x}")),
        Scalar::Date(v) => (*to == Type::DATE, "a date", date(*v)),
        Scalar::Time(v) => (*to == Type::TIME, "a time", time(*v)),
        Scalar::Timestamp(v) => (*to == Type::TIMESTAMP, "a timestamp without time zone", timestamp(*v)),
        Scalar::Timestamptz(v) => {
            (*to == Type::TIMESTAMPTZ, "a timestamp with time zone", format!("{}{}", timestamp(*v), zone(*v)))
        }
        Scalar::Interval(v) => {
            (*to == Type::INTERVAL, "an interval", format!("{} months {} days {} microseconds", v.months, v.days, v.microseconds))
        }
        Scalar::Jsonb(v) => ([Type::JSON, Type::JSONB].contains(to), "a json document", v.clone()),
        Scalar::Other(v) => {
            let named = v.type_name.is_empty() || v.type_name == of.name() || v.type_name == type_name(of);
            (named, "a value of another type", v.text.clone())
        }
    };
    if fits { Ok(Some(text)) } else { Err(format!("{given} was given, the statement wants {}", of.name())) }
}

/// A day as a Julian date, which is one number.
fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => format!("J{}", i64::from(days) + 2_451_545),
    }
}

fn time(microseconds: i64) -> String {
    let seconds = microseconds.div_euclid(1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, microseconds.rem_euclid(1_000_000))
}

fn timestamp(microseconds: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    match microseconds {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        at => format!("J{} {}", at.div_euclid(DAY) + 2_451_545, time(at.rem_euclid(DAY))),
    }
}

fn zone(microseconds: i64) -> &'static str {
    if microseconds == i64::MAX || microseconds == i64::MIN { "" } else { "+00" }
}

/// An array as its input function reads it: `[0:1]={"a",NULL}`.
fn array_text(array: &Array, element: &Type) -> Result<String, String> {
    let mut texts = Vec::with_capacity(array.elements.len());
    for (scalar, place) in array.elements.iter().zip(1..) {
        let text = text(scalar, element).map_err(|message| format!("element {place} of the array: {message}"))?;
        texts.push(
            text.map_or_else(|| "NULL".to_owned(), |text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
        );
    }
    let bounds: String = array
        .dimensions
        .iter()
        .map(|d| format!("[{}:{}]", d.lower_bound, i64::from(d.lower_bound) + i64::from(d.length) - 1))
        .collect();
    for dimension in array.dimensions.iter().rev() {
        let length = usize::try_from(dimension.length).unwrap_or(usize::MAX).max(1);
        texts = texts.chunks(length).map(|chunk| format!("{{{}}}", chunk.join(","))).collect();
    }
    Ok(match texts.pop() {
        Some(text) if !bounds.is_empty() => format!("{bounds}={text}"),
        _ => "{}".to_owned(),
    })
}

/// A column's bytes, whatever its type.
pub(crate) struct Raw<'a>(pub(crate) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failed> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Reads a column.
pub(crate) fn decode(of: &Type, raw: Option<&[u8]>) -> Result<Value, String> {
    let Some(bytes) = raw else { return Ok(Value::Scalar(Scalar::Null)) };
    let read = match base(of).kind() {
        Kind::Array(element) => array(element, bytes).map(Value::Array),
        _ => scalar(of, bytes).map(Value::Scalar),
    };
    read.map_err(|error| format!("a value of type {} cannot be read: {error}", of.name()))
}

fn array(element: &Type, bytes: &[u8]) -> Result<Array, Failed> {
    let array = wire::array_from_sql(bytes)?;
    let dimensions = array
        .dimensions()
        .map(|dimension| Ok(Dimension { length: u32::try_from(dimension.len)?, lower_bound: dimension.lower_bound }))
        .collect()?;
    let elements = array.values().map(|value| value.map_or(Ok(Scalar::Null), |bytes| scalar(element, bytes))).collect()?;
    Ok(Array { element_type: type_name(element), dimensions, elements })
}

fn scalar(of: &Type, bytes: &[u8]) -> Result<Scalar, Failed> {
    let text = || wire::text_from_sql(bytes).map(str::to_owned);
    Ok(match *base(of) {
        Type::BOOL => Scalar::Boolean(wire::bool_from_sql(bytes)?),
        Type::INT2 => Scalar::Int2(wire::int2_from_sql(bytes)?),
        Type::INT4 => Scalar::Int4(wire::int4_from_sql(bytes)?),
        Type::INT8 => Scalar::Int8(wire::int8_from_sql(bytes)?),
        Type::OID => Scalar::Int8(i64::from(wire::oid_from_sql(bytes)?)),
        Type::FLOAT4 => Scalar::Float4(wire::float4_from_sql(bytes)?),
        Type::FLOAT8 => Scalar::Float8(wire::float8_from_sql(bytes)?),
        Type::NUMERIC => Scalar::Numeric(numeric(bytes).ok_or("malformed numeric")?),
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
        Type::INTERVAL => {
            let (time, rest) = bytes.split_at_checked(8).ok_or("too short")?;
            let (days, months) = rest.split_at_checked(4).ok_or("too short")?;
            Scalar::Interval(Interval {
                microseconds: wire::int8_from_sql(time)?,
                days: wire::int4_from_sql(days)?,
                months: wire::int4_from_sql(months)?,
            })
        }
        Type::JSON => Scalar::Jsonb(text()?),
        Type::JSONB => match bytes.split_first() {
            Some((1, document)) => Scalar::Jsonb(wire::text_from_sql(document)?.to_owned()),
            _ => return Err("unknown format of jsonb".into()),
        },
        Type::VOID => Scalar::Null,
        // An enum's binary form is its label. What else has none of its own is refused rather than guessed.
        ref other if matches!(other.kind(), Kind::Enum(_)) || other.name() == "citext" => {
            Scalar::Other(TypedText { type_name: type_name(of), text: text()? })
        }
        _ => return Err("natively a block reads such a value only as text: cast it with ::text".into()),
    })
}

/// `ndigits, weight, sign, dscale` and the digits to base 10000, as text.
fn numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes);
    let count = usize::from(words.next()?);
    let weight = i64::from(words.next()?.cast_signed());
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    match sign {
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        0x0000 | 0x4000 => {}
        _ => return None,
    }
    let digits: Vec<u16> = words.collect();
    if digits.len() != count {
        return None;
    }
    let at = |power: i64| usize::try_from(weight - power).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    text.push_str(&at(weight.max(0)).to_string());
    for power in (0..weight.max(0)).rev() {
        text.push_str(&format!("{:04}", at(power)));
    }
    if scale > 0 {
        let groups = i64::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|group| format!("{:04}", at(-group))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}
