//! Which binary format a column's bytes have.

/// A type whose binary format is known here. Its number is the type's `oid`, which is the same in every database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    pub(super) base: Base,
    pub(super) array: bool,
}

macro_rules! bases {
    ($($name:ident, $text:literal, $oid:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Base {
            $($name,)*
        }

        impl Base {
            fn named(name: &str) -> Option<Base> {
                match name {
                    $($text => Some(Base::$name),)*
                    _ => None,
                }
            }

            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Base::$name => $text,)*
                }
            }

            pub(super) fn oid(self) -> u32 {
                match self {
                    $(Base::$name => $oid,)*
                }
            }
        }
    };
}

bases! {
    Bool, "bool", 16;
    Bytea, "bytea", 17;
    Name, "name", 19;
    Int8, "int8", 20;
    Int2, "int2", 21;
    Int4, "int4", 23;
    Text, "text", 25;
    Oid, "oid", 26;
    Json, "json", 114;
    Float4, "float4", 700;
    Float8, "float8", 701;
    Unknown, "unknown", 705;
    Bpchar, "bpchar", 1042;
    Varchar, "varchar", 1043;
    Date, "date", 1082;
    Time, "time", 1083;
    Timestamp, "timestamp", 1114;
    Timestamptz, "timestamptz", 1184;
    Interval, "interval", 1186;
    Numeric, "numeric", 1700;
    Uuid, "uuid", 2950;
    Jsonb, "jsonb", 3802;
}

impl Base {
    /// Whether its bytes are a text's.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Base::Text | Base::Varchar | Base::Bpchar | Base::Name | Base::Unknown)
    }
}

impl Wire {
    /// The type by its name in `pg_type`: `int4`, `_text`. None if its format is not known here.
    pub fn named(name: &str) -> Option<Wire> {
        match name.strip_prefix('_') {
            Some(element) => Base::named(element).map(|base| Wire { base, array: true }),
            None => Base::named(name).map(|base| Wire { base, array: false }),
        }
    }
}
