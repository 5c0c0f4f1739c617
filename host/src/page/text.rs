//! Times, counts and words as the page shows them.

use crate::RowCounts;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// A time from the ledger, to the second.
pub(super) fn time(timestamp: &str) -> Markup {
    let (date, rest) = timestamp.split_once('T').unwrap_or((timestamp, ""));
    let zone = if timestamp.ends_with("+00:00") { " UTC" } else { "" };
    // A line may end between the two, and nowhere else.
    html! { time datetime=(timestamp) { span { (date) } " " span { (rest.get(..8).unwrap_or(rest)) (zone) } } }
}

/// A block's id, in which a line may end after an underscore.
pub(super) fn id(id: &str) -> Markup {
    html! { @for part in id.split_inclusive('_') { (part) wbr; } }
}

/// Milliseconds, in a unit that fits.
pub(super) fn duration(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms => format!("{:.0} min", ms / 60_000.0),
    }
}

/// Rows by table.
pub(super) fn rows(rows: &BTreeMap<String, RowCounts>) -> String {
    crate::report::rows_told(rows).join("; ")
}

/// An outcome or a state: a mark and a word, so that colour is never all that tells it.
pub(super) fn word(word: &str) -> Markup {
    html! { span class={ "word " (tone(word)) } { span.mark aria-hidden="true" { (mark(word)) } " " (word) } }
}

/// The sign before an outcome or a state.
pub(super) fn mark(word: &str) -> &'static str {
    match word {
        "applied" | "complete" | "ready" => "✓",
        "failed" | "interrupted" => "✕",
        "deferred" => "◇",
        "running" | "looking" | "waiting" | "retrying" => "▸",
        "retired" => "−",
        _ => "·",
    }
}

fn tone(word: &str) -> &'static str {
    match word {
        "applied" | "complete" | "ready" => "good",
        "failed" | "interrupted" => "bad",
        "deferred" | "pending" | "waiting" | "retrying" => "warn",
        "running" | "looking" => "busy",
        _ => "plain",
    }
}

/// What an error in the ledger says, with its SQLSTATE and statement.
pub(super) fn error(error: &serde_json::Value) -> String {
    let field = |name: &str| error.get(name).filter(|value| !value.is_null());
    let words = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut out = field("message").map(words).unwrap_or_else(|| error.to_string());
    for (name, label) in [("sqlstate", "SQLSTATE"), ("object", "at"), ("statement", "statement")] {
        if let Some(value) = field(name) {
            out.push_str(&format!(", {label} {}", words(value)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{duration, error, time};

    #[test]
    fn times_and_errors_as_people_read_them() {
        assert_eq!(
            time("2026-11-24T20:00:01.25+00:00").into_string(),
            "<time datetime=\"2026-11-24T20:00:01.25+00:00\"><span>2026-11-24</span> <span>20:00:01 UTC</span></time>"
        );
        assert_eq!(
            (duration(12.4).as_str(), duration(2500.0).as_str(), duration(180_000.0).as_str()),
            ("12 ms", "2.5 s", "3 min")
        );
        let failed = serde_json::json!({ "message": "no", "sqlstate": "42P01", "object": null, "statement": 2 });
        assert_eq!(error(&failed), "no, SQLSTATE 42P01, statement 2");
    }
}
