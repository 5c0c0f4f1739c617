//! What the author of a Plinth block imports.
//!
//! A block is a schema migration, a reconcile rule or a backfill for PostgreSQL, compiled to a WebAssembly component. It consists of
//! `block.toml`, a type with its work and its post-conditions, and one macro:
//!
//! ```
//! use plinth_block::prelude::*;
//!
//! struct CostsOfPepCheck;
//!
//! impl Rule for CostsOfPepCheck {
//!     fn reconcile(db: &Db) -> Result<Outcome> {
//!         db.send(
//!             "update test_suites set external_cost_cents = $1 where capability_slug = $2 and external_cost_cents = 0",
//!             &[&1, &"pep-check"],
//!         )?;
//!         done()
//!     }
//!
//!     fn verify(db: &Db) -> Result<Checks> {
//!         let mut checks = Checks::new();
//!         checks.no_rows(
//!             db,
//!             "no suite of pep-check is free",
//!             "select id from test_suites where capability_slug = 'pep-check' and external_cost_cents = 0",
//!             &[],
//!         )?;
//!         Ok(checks)
//!     }
//! }
//!
//! # /* the macro reads block.toml, which this example does not have
//! plinth_block::rule!(CostsOfPepCheck);
//! # */
//! # impl plinth_block::Described for CostsOfPepCheck {
//! #     fn manifest() -> &'static str {
//! #         "id = \"a\"\nkind = \"rule\"\ntitle = \"t\"\nwrites = [\"test_suites.external_cost_cents\"]"
//! #     }
//! # }
//! # let database = plinth_test::TestDatabase::empty();
//! # database.execute("create table test_suites (id int, capability_slug text, external_cost_cents int);
//! #                   insert into test_suites values (1, 'pep-check', 0), (2, 'pep-check', null), (3, 'iban-validate', 0)");
//! # database.reconcile::<CostsOfPepCheck>().expect_rows("test_suites", plinth_test::updated(1));
//! ```
//!
//! The host owns the transaction: a block can neither open, commit nor keep one. What the block changed is measured by the
//! host; nothing that a block says about its own work is believed.

mod backfill;
mod bindings;
mod block;
pub mod bulk;
mod checks;
mod db;
mod error;
mod from_value;
mod journal;
mod to_value;
pub mod types;

pub use backfill::{Backfill, Batch, Step, more, more_of};
pub use block::{Described, Migration, Outcome, Rule, defer, done};
pub use checks::Checks;
pub use db::{Backend, BackendSavepoint, Db, Row, Rows, Savepoint};
pub use error::{Context, Error, Result, SqlError};
pub use from_value::{FromRow, FromValue};
pub use journal::Level;
pub use to_value::{Element, ToValue};

/// What a block usually needs: `use plinth_block::prelude::*;`.
pub mod prelude {
    pub use crate::types::{Date, Interval, Json, Numeric, Other, Time, Timestamp, TimestampTz, Uuid};
    pub use crate::{
        Backfill, Batch, Checks, Context, Db, Error, Migration, Outcome, Result, Rule, SqlError, Step, ToValue, defer, done,
        ensure, more, more_of,
    };
}

/// What the macros expand to. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{backfill, migration, rule};
    pub use plinth_block_macros::manifest;
}

/// Exports a type as a migration: reads `block.toml` beside the crate's `Cargo.toml`, checks it (a mistake is a compile
/// error that names its line) and carries it in the component.
///
/// The type implements [`Migration`]. Used once a crate.
#[macro_export]
macro_rules! migration {
    ($block:ident) => {
        $crate::__private::manifest!(migration);
        // The exports' names are none that a native linker takes, and two blocks in one program would both have them.
        #[cfg(target_arch = "wasm32")]
        $crate::__private::migration::export!($block with_types_in $crate::__private::migration);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Db) -> $crate::Result<$crate::Checks> = <$block as $crate::Migration>::verify;
        $crate::__described!($block);
    };
}

/// Exports a type as a rule. Like [`migration!`], for a type that implements [`Rule`].
#[macro_export]
macro_rules! rule {
    ($block:ident) => {
        $crate::__private::manifest!(rule);
        // The exports' names are none that a native linker takes, and two blocks in one program would both have them.
        #[cfg(target_arch = "wasm32")]
        $crate::__private::rule::export!($block with_types_in $crate::__private::rule);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Db) -> $crate::Result<$crate::Checks> = <$block as $crate::Rule>::verify;
        $crate::__described!($block);
    };
}

/// What natively stands for the custom section. Not part of the interface.
#[doc(hidden)]
#[macro_export]
macro_rules! __described {
    ($block:ident) => {
        #[cfg(not(target_arch = "wasm32"))]
        impl $crate::Described for $block {
            fn manifest() -> &'static str {
                __PLINTH_MANIFEST
            }
        }
    };
}

/// Exports a type as a backfill. Like [`migration!`], for a type that implements [`Backfill`].
#[macro_export]
macro_rules! backfill {
    ($block:ident) => {
        $crate::__private::manifest!(backfill);
        // The exports' names are none that a native linker takes, and two blocks in one program would both have them.
        #[cfg(target_arch = "wasm32")]
        $crate::__private::backfill::export!($block with_types_in $crate::__private::backfill);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Db) -> $crate::Result<$crate::Checks> = <$block as $crate::Backfill>::verify;
        $crate::__described!($block);
    };
}

/// Returns early with an error unless the condition holds.
///
/// ```
/// # use plinth_block::prelude::*;
/// fn look(rows: i64) -> Result<()> {
///     ensure!(rows < 10_000, "{rows} rows would be deleted");
///     Ok(())
/// }
/// assert!(look(20_000).is_err());
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Error::message(format!($($message)+)));
        }
    };
}
