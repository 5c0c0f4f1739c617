//! From Rust's values to the contract's.

use crate::types::{
    Array, Date, Dimension, Interval, Json, Numeric, Other, Scalar, Time, Timestamp, TimestampTz, TypedText, Uuid, Value,
};

/// A value that can be a parameter.
pub trait ToValue {
    /// The value as the contract has it.
    fn to_value(&self) -> Value;
}

/// A value that can be an element of an array.
pub trait Element {
    /// The elements' type as PostgreSQL names it.
    const TYPE: &'static str;

    /// The value as the contract has it.
    fn to_scalar(&self) -> Scalar;
}

macro_rules! element {
    ($($rust:ty, $name:literal, |$value:ident| $scalar:expr;)*) => {$(
        impl Element for $rust {
            const TYPE: &'static str = $name;

            fn to_scalar(&self) -> Scalar {
                let $value = self;
                $scalar
            }
        }

        impl ToValue for $rust {
            fn to_value(&self) -> Value {
                Value::Scalar(self.to_scalar())
            }
        }
    )*};
}

element! {
    bool, "bool", |v| Scalar::Boolean(*v);
    i16, "int2", |v| Scalar::Int2(*v);
    i32, "int4", |v| Scalar::Int4(*v);
    i64, "int8", |v| Scalar::Int8(*v);
    f32, "float4", |v| Scalar::Float4(*v);
    f64, "float8", |v| Scalar::Float8(*v);
    str, "text", |v| Scalar::Text(v.to_owned());
    &str, "text", |v| Scalar::Text((*v).to_owned());
    String, "text", |v| Scalar::Text(v.clone());
    [u8], "bytea", |v| Scalar::Bytea(v.to_vec());
    &[u8], "bytea", |v| Scalar::Bytea(v.to_vec());
    Vec<u8>, "bytea", |v| Scalar::Bytea(v.clone());
    Numeric, "numeric", |v| Scalar::Numeric(v.0.clone());
    Uuid, "uuid", |v| {
        let all = u128::from_be_bytes(v.0);
        Scalar::Uuid(((all >> 64) as u64, all as u64))
    };
    Date, "date", |v| Scalar::Date(v.0);
    Time, "time", |v| Scalar::Time(v.0);
    Timestamp, "timestamp", |v| Scalar::Timestamp(v.0);
    TimestampTz, "timestamptz", |v| Scalar::Timestamptz(v.0);
    Interval, "interval", |v| Scalar::Interval(*v);
    Json, "jsonb", |v| Scalar::Jsonb(v.0.clone());
    Other, "", |v| Scalar::Other(TypedText { type_name: v.type_name.clone(), text: v.text.clone() });
}

impl<T: Element> Element for Option<T> {
    const TYPE: &'static str = T::TYPE;

    fn to_scalar(&self) -> Scalar {
        self.as_ref().map_or(Scalar::Null, T::to_scalar)
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Scalar(Scalar::Null), T::to_value)
    }
}

impl<T: Element> ToValue for [T] {
    fn to_value(&self) -> Value {
        let dimensions = match u32::try_from(self.len()) {
            Ok(0) => Vec::new(),
            // More elements than a u32 counts do not fit into a component's memory.
            length => vec![Dimension { length: length.unwrap_or(u32::MAX), lower_bound: 1 }],
        };
        let elements = self.iter().map(T::to_scalar).collect();
        Value::Array(Array { element_type: T::TYPE.to_owned(), dimensions, elements })
    }
}

impl<T: Element> ToValue for &[T] {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: Element> ToValue for Vec<T> {
    fn to_value(&self) -> Value {
        self.as_slice().to_value()
    }
}

impl<T: Element, const N: usize> ToValue for [T; N] {
    fn to_value(&self) -> Value {
        self.as_slice().to_value()
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_carries_its_element_type_even_when_empty() {
        let none: [&str; 0] = [];
        assert!(matches!(none.to_value(), Value::Array(a) if a.element_type == "text" && a.dimensions.is_empty()));
        assert!(matches!([Some(1_i64), None].to_value(), Value::Array(a) if a.elements.len() == 2));
    }

    #[test]
    fn bytes_are_one_value_and_not_an_array() {
        assert!(matches!(vec![1_u8, 2].to_value(), Value::Scalar(Scalar::Bytea(_))));
    }
}
