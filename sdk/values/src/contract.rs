//! From what a binding generator made of `wit/types.wit` to the types here, and back.

/// Makes two functions, `from_contract` and `to_contract`, between [`Value`](crate::Value) and the type `Value` of a module with
/// generated bindings. Everything is moved, nothing copied.
///
/// ```ignore
/// plinth_values::contract!(crate::bindings::types);
/// ```
#[macro_export]
macro_rules! contract {
    ($($types:tt)+) => {
        /// A value that crossed the boundary.
        pub(crate) fn from_contract(value: $($types)+::Value) -> $crate::Value {
            $crate::__moved!(value, ($($types)+), ($crate))
        }

        /// A value that is to cross it.
        pub(crate) fn to_contract(value: $crate::Value) -> $($types)+::Value {
            $crate::__moved!(value, ($crate), ($($types)+))
        }
    };
}

/// A value in the types of one module as one in those of another, part by part.
#[doc(hidden)]
#[macro_export]
macro_rules! __moved {
    ($value:ident, ($($from:tt)+), ($($to:tt)+)) => {{
        use $($from)+::{Scalar as FromScalar, Value as FromValue};
        use $($to)+::{Array, Dimension, Interval, Scalar, TypedText, Value};
        fn scalar(scalar: FromScalar) -> Scalar {
            match scalar {
                FromScalar::Null => Scalar::Null,
                FromScalar::Boolean(v) => Scalar::Boolean(v),
                FromScalar::Int2(v) => Scalar::Int2(v),
                FromScalar::Int4(v) => Scalar::Int4(v),
                FromScalar::Int8(v) => Scalar::Int8(v),
                FromScalar::Float4(v) => Scalar::Float4(v),
                FromScalar::Float8(v) => Scalar::Float8(v),
                FromScalar::Numeric(v) => Scalar::Numeric(v),
                FromScalar::Text(v) => Scalar::Text(v),
                FromScalar::Bytea(v) => Scalar::Bytea(v),
                FromScalar::Uuid(v) => Scalar::Uuid(v),
                FromScalar::Date(v) => Scalar::Date(v),
                FromScalar::Time(v) => Scalar::Time(v),
                FromScalar::Timestamp(v) => Scalar::Timestamp(v),
                FromScalar::Timestamptz(v) => Scalar::Timestamptz(v),
                FromScalar::Interval(v) => {
                    Scalar::Interval(Interval { months: v.months, days: v.days, microseconds: v.microseconds })
                }
                FromScalar::Jsonb(v) => Scalar::Jsonb(v),
                FromScalar::Other(v) => Scalar::Other(TypedText { type_name: v.type_name, text: v.text }),
            }
        }
        match $value {
            FromValue::Scalar(v) => Value::Scalar(scalar(v)),
            FromValue::Array(v) => Value::Array(Array {
                element_type: v.element_type,
                dimensions: v
                    .dimensions
                    .into_iter()
                    .map(|v| Dimension { length: v.length, lower_bound: v.lower_bound })
                    .collect(),
                elements: v.elements.into_iter().map(scalar).collect(),
            }),
        }
    }};
}
