//! Why something failed, in words.

use std::error::Error;

/// An error and everything behind it: of what the server said, tokio-postgres's own words are only `db error`.
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let text = behind.to_string();
        // Some repeat what is behind them.
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        source = behind.source();
    }
    out
}
