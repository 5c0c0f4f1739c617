//! A rule that asks, and says what it heard.

const ID: &str = "asks";

include!("asking.rs");
