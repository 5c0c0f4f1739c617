//! Foreign text and counts, made fit to be shown.

use super::RowCounts;
use std::collections::BTreeMap;

/// Cuts a text and escapes its control characters, so that a log line stays a line and a terminal stays a terminal.
pub(crate) fn shown(text: &str, most_bytes: usize) -> String {
    let cut = text.floor_char_boundary(most_bytes);
    let (kept, rest) = text.split_at(cut);
    let mut out = String::with_capacity(kept.len());
    for c in kept.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            // C0, DEL, C1, and what turns the direction of text.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.extend(c.escape_unicode())
            }
            c => out.push(c),
        }
    }
    if !rest.is_empty() {
        out.push_str(&format!("… ({} bytes more)", rest.len()));
    }
    out
}

/// Rows by table, a text for each: `test_suites: 3 updated`.
pub(crate) fn rows_told(rows: &BTreeMap<String, RowCounts>) -> Vec<String> {
    let of_table = |(table, rows): (&String, &RowCounts)| {
        let verbs = [("inserted", rows.inserted), ("updated", rows.updated), ("deleted", rows.deleted)];
        let counts: Vec<String> =
            verbs.iter().filter(|(_, count)| *count > 0).map(|(verb, count)| format!("{count} {verb}")).collect();
        format!("{}: {}", table.strip_prefix("public.").unwrap_or(table), counts.join(", "))
    };
    rows.iter().map(of_table).collect()
}

/// A name that somebody else chose, on one line.
pub(crate) fn shown_name(text: &str) -> String {
    /// Longer than any name of PostgreSQL's with its schema and table.
    const LONGEST: usize = 400;
    shown(text, LONGEST).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use super::{shown, shown_name};

    #[test]
    fn a_terminal_is_not_steered_and_a_giant_text_is_cut() {
        assert_eq!(shown("a\u{1b}[2Jb", 100), "a\\u{1b}[2Jb");
        assert_eq!(shown("ääää", 5), "ää… (4 bytes more)");
        assert_eq!(shown("two\nlines", 100), "two\nlines");
        assert_eq!(shown_name("two\nlines\u{7}"), "two\\nlines\\u{7}");
    }
}
