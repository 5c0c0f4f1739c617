//! Values between the contract and PostgreSQL's binary format.

mod decode;
mod encode;
mod numeric;

pub(crate) use decode::{Raw, decode, is_native};
pub(crate) use encode::parameters;

pub(crate) use crate::contract::Value;
use tokio_postgres::types::{Kind, Type};

/// A type's name as the contract shows it: with its schema, unless that is `pg_catalog`.
pub(crate) fn type_name(of: &Type) -> String {
    if of.schema() == "pg_catalog" { of.name().to_owned() } else { format!("{}.{}", of.schema(), of.name()) }
}

/// A domain is sent and read as what it is made of.
pub(crate) fn base(of: &Type) -> &Type {
    match of.kind() {
        Kind::Domain(inner) => base(inner),
        _ => of,
    }
}
