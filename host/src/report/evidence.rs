//! What the ledger knows of a rule that somebody may want to remove.

use super::{JournalLine, RowCounts, rows_told};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a rule has had nothing to do, and what it did last: what speaks for and against its removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The rule.
    pub block: String,
    /// Boots in a row, up to the last one, in which it ran and changed nothing.
    pub quiet_boots: u64,
    /// When the first of these boots started, as an ISO timestamp.
    pub quiet_since: Option<String>,
    /// The last boot in which it did something.
    pub last: Option<LastEffect>,
    /// Whether the boots without work are enough.
    #[serde(default)]
    pub safe_to_remove: bool,
}

/// What a rule did when it had something to do last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LastEffect {
    /// The boot.
    pub boot: i64,
    /// When the rule ran in it, as an ISO timestamp.
    pub started: String,
    /// How it ended: `applied`, `deferred` or `failed`.
    pub outcome: String,
    /// Rows that it changed, by table.
    pub rows: BTreeMap<String, RowCounts>,
    /// What it logged, such as the rows that it found.
    pub journal: Vec<JournalLine>,
}

impl Evidence {
    /// Boots in a row without work that are wanted before a rule is called safe to remove. One shows only what came in since the
    /// boot before it; a way of writing that is used seldom needs more than that to be seen.
    pub const ENOUGH: u64 = 3;

    pub(crate) fn judged(mut self) -> Evidence {
        self.safe_to_remove = self.quiet_boots >= Evidence::ENOUGH;
        self
    }

    /// Whether it is safe to remove, and why.
    pub fn sentence(&self) -> String {
        let boots = |count: u64| if count == 1 { "boot".to_owned() } else { format!("{count} boots in a row") };
        let quiet = match (self.quiet_boots, &self.quiet_since) {
            (0, _) => None,
            (count, since) => {
                let since = since.as_deref().map(|since| format!(", since {}", minute(since))).unwrap_or_default();
                Some(format!("nothing to do in the last {}{since}", boots(count)))
            }
        };
        let last = self.last.as_ref().map(|last| {
            let rows = rows_told(&last.rows).join("; ");
            let did = match last.outcome.as_str() {
                "applied" if rows.is_empty() => "did something".to_owned(),
                "applied" => rows,
                other => other.to_owned(),
            };
            format!("boot {} ({}): {did}", last.boot, minute(&last.started))
        });
        let verdict = if self.safe_to_remove { "safe to remove" } else { "not safe to remove" };
        let few = if self.safe_to_remove { String::new() } else { format!(" ({} boots in a row are wanted)", Evidence::ENOUGH) };
        match (quiet, last) {
            (Some(quiet), Some(last)) => format!("{verdict}: {quiet}{few}; before that, {last}"),
            (Some(quiet), None) => format!("{verdict}: {quiet}{few}; it never had anything to do"),
            (None, Some(last)) => format!("{verdict}: it was not without work in the last boot that ran it, {last}"),
            (None, None) => "not known whether it is safe to remove: it never ran".to_owned(),
        }
    }
}

/// An ISO timestamp to the minute, as people read it.
fn minute(timestamp: &str) -> String {
    timestamp.get(..16).unwrap_or(timestamp).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::{Evidence, LastEffect};
    use crate::RowCounts;

    fn evidence(quiet_boots: u64, last: bool) -> Evidence {
        let rows = [("public.test_suites".to_owned(), RowCounts { updated: 3, ..RowCounts::default() })].into();
        Evidence {
            block: "r".into(),
            quiet_boots,
            quiet_since: (quiet_boots > 0).then(|| "2026-11-24T10:00:31.5+00:00".into()),
            last: last.then(|| LastEffect {
                boot: 7,
                started: "2026-11-23T09:00:00+00:00".into(),
                outcome: "applied".into(),
                rows,
                journal: Vec::new(),
            }),
            safe_to_remove: false,
        }
        .judged()
    }

    #[test]
    fn the_verdict_says_why() {
        assert_eq!(
            evidence(3, true).sentence(),
            "safe to remove: nothing to do in the last 3 boots in a row, since 2026-11-24 10:00; \
             before that, boot 7 (2026-11-23 09:00): test_suites: 3 updated"
        );
        assert_eq!(
            evidence(1, true).sentence(),
            "not safe to remove: nothing to do in the last boot, since 2026-11-24 10:00 (3 boots in a row are wanted); \
             before that, boot 7 (2026-11-23 09:00): test_suites: 3 updated"
        );
        assert_eq!(
            evidence(0, true).sentence(),
            "not safe to remove: it was not without work in the last boot that ran it, boot 7 (2026-11-23 09:00): test_suites: 3 updated"
        );
        assert!(evidence(9, false).sentence().ends_with("it never had anything to do"));
        assert!(evidence(0, false).sentence().starts_with("not known"));
    }
}
