//! The same as `asks`, after a rule that writes.

const ID: &str = "asks_after";

include!("../../asks/src/asking.rs");
