//! What wasmtime makes of the contract. The types below are those of `wit/types.wit`.

use plinth_manifest::Kind;

pub(crate) use bindings::plinth::block::{journal, sql, types};
pub(crate) use types::{
    Array, Batch, BudgetError, Check, Column, DatabaseError, Dimension, Error, Failure, Interval, Outcome, Refusal, Rows, Scalar,
    Stepped, TypedText, Value, ValueError,
};

#[allow(clippy::all, missing_docs, unused_qualifications, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "rights",
        imports: { default: async | trappable },
        with: { "plinth:block/sql.savepoint": crate::contract::SavepointHandle },
    });
}

pub(crate) use bindings::Rights;

/// The interface that a block of a kind exports.
pub(crate) fn exported_by(kind: Kind) -> &'static str {
    match kind {
        Kind::Migration => "migrate",
        Kind::Rule => "reconcile",
        Kind::Backfill => "fill",
    }
}

/// The version of the contract that this host speaks: components of the same 0.x track link.
pub(crate) const VERSION: (u64, u64) = (0, 1);
/// The package that all rights come from.
pub(crate) const PACKAGE: &str = "plinth:block/";

/// A sub-step that a guest holds, by its number in the session.
pub struct SavepointHandle(pub(crate) u32);
