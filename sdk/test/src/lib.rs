//! Tests of a block on a real PostgreSQL.
//!
//! There are three tiers, each slower and nearer to production than the one before:
//!
//! 1. **natively**: [`TestDatabase::apply`], [`TestDatabase::reconcile`] and [`TestDatabase::backfill`] run the block's own Rust in the test's process, by the
//!    steps of a boot: transaction, work, post-conditions, commit. Milliseconds, and a debugger stops in it. There is no sandbox, and
//!    no statement is refused by the host's policy.
//! 2. **as a component** (feature `component`): `TestDatabase::boot` runs the file that will be shipped in a host's sandbox, with
//!    policy, limits and ledger.
//! 3. **`plinth test`**, the command: what no test of one's own needs to say again. Run, run again without effect, killed after
//!    every statement, two at once, effects against the manifest.
//!
//! ```
//! use plinth_block::prelude::*;
//! use plinth_test::{TestDatabase, updated};
//!
//! struct NoNegative;
//!
//! impl Rule for NoNegative {
//!     fn reconcile(db: &Db) -> Result<Outcome> {
//!         if db.query_one("select exists (select from stock where pieces < 0)", &[])? {
//!             db.execute("update stock set pieces = 0 where pieces < 0", &[])?;
//!         }
//!         done()
//!     }
//!
//!     fn verify(db: &Db) -> Result<Checks> {
//!         let mut checks = Checks::new();
//!         checks.no_rows(db, "no stock is negative", "select from stock where pieces < 0", &[])?;
//!         Ok(checks)
//!     }
//! }
//! # // In a crate, plinth_block::rule!(NoNegative) does this, from block.toml.
//! # impl plinth_block::Described for NoNegative {
//! #     fn manifest() -> &'static str {
//! #         "id = \"no_negative\"\nkind = \"rule\"\ntitle = \"t\"\nwrites = [\"stock.pieces\"]"
//! #     }
//! # }
//!
//! // In a crate, plinth_test::database!() has run fixtures/*.sql.
//! let database = TestDatabase::empty();
//! database.execute("create table stock (id int primary key, pieces int); insert into stock values (1, -2), (2, 5)");
//! database.reconcile::<NoNegative>().expect_rows("stock", updated(1)).expect_change("stock: pieces was -2, is 0");
//! database.reconcile::<NoNegative>().expect_nothing();
//! ```
#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod backfill;
mod bulk;
#[cfg(feature = "component")]
mod component;
mod database;
mod native;
mod ran;
mod server;

pub use database::TestDatabase;
#[doc(hidden)]
pub use database::example;
#[cfg(feature = "component")]
pub use plinth;
pub use plinth_embedded::{Difference, Snapshot, Unsteady};
pub use postgres;
pub use ran::{Failed, Ran, Rows, deleted, inserted, updated};
pub use server::server;
