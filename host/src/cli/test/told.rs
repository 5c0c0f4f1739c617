//! What a test run found: a value, JSON, JUnit, and lines for people.

use crate::{Finding, HeldLock, ObjectChange, RowCounts, cli::print, report::rows_told};
use plinth_manifest::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

/// What `plinth test` found. Serialises to what it prints as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) passed: bool,
    pub(super) duration_ms: f64,
    pub(super) server: String,
    pub(super) blocks: Vec<Tested>,
}

/// One block.
#[derive(Debug, Serialize)]
pub(super) struct Tested {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) file: String,
    pub(super) passed: bool,
    pub(super) duration_ms: f64,
    pub(super) checks: Vec<Check>,
    /// Blocks that ran before it, since it requires what they provide.
    pub(super) required: Vec<String>,
    pub(super) rows: BTreeMap<String, RowCounts>,
    pub(super) objects: Vec<ObjectChange>,
    pub(super) locks: Vec<HeldLock>,
    pub(super) statements: Vec<Statement>,
    /// squawk's.
    pub(super) findings: Vec<Finding>,
    /// What somebody should know and that fails nothing.
    pub(super) notes: Vec<String>,
}

/// A statement that the block sent.
#[derive(Debug, Serialize)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// Milliseconds, if it was timed.
    pub(super) duration_ms: Option<f64>,
    pub(super) rows: Option<u64>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Checked,
    /// What was seen, or what is wrong.
    pub(super) message: String,
    pub(super) duration_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Checked {
    Passed,
    Failed,
    /// It makes no sense after what failed before it.
    Skipped,
}

impl Told {
    pub(super) fn print(&self) {
        for block in &self.blocks {
            block.print();
        }
        let failed = self.blocks.iter().filter(|block| !block.passed).count();
        let blocks = if self.blocks.len() == 1 { "1 block".to_owned() } else { format!("{} blocks", self.blocks.len()) };
        let failures = if failed == 0 { "all passed".to_owned() } else { format!("{failed} failed") };
        print::say(&format!("{blocks} on PostgreSQL {}: {failures}, {:.1} s", self.server, self.duration_ms / 1000.0));
    }

    /// As JUnit's XML: a suite for each block, a case for each check.
    pub(super) fn junit(&self) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"plinth test\">\n".to_owned();
        for block in &self.blocks {
            let count = |result| block.checks.iter().filter(|check| check.result == result).count();
            xml.push_str(&format!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
                escaped(&block.id),
                block.checks.len(),
                count(Checked::Failed),
                count(Checked::Skipped),
                block.duration_ms / 1000.0
            ));
            for check in &block.checks {
                let inside = match check.result {
                    Checked::Passed => format!("<system-out>{}</system-out>", escaped(&check.message)),
                    Checked::Failed => {
                        let first = check.message.lines().next().unwrap_or_default();
                        format!("<failure message=\"{}\">{}</failure>", escaped(first), escaped(&check.message))
                    }
                    Checked::Skipped => "<skipped/>".to_owned(),
                };
                xml.push_str(&format!(
                    "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{inside}</testcase>\n",
                    escaped(&block.id),
                    check.name,
                    check.duration_ms / 1000.0
                ));
            }
            let notes = block.notes.iter().cloned().chain(block.findings.iter().map(finding));
            xml.push_str(&format!(
                "    <system-out>{}</system-out>\n  </testsuite>\n",
                escaped(&notes.collect::<Vec<_>>().join("\n"))
            ));
        }
        xml.push_str("</testsuites>\n");
        xml
    }
}

impl Tested {
    fn print(&self) {
        print::say(&format!("{} ({})", self.id, self.kind));
        for check in &self.checks {
            let word = match check.result {
                Checked::Passed => "ok",
                Checked::Failed => "FAILED",
                Checked::Skipped => "skipped",
            };
            let mut lines = check.message.lines();
            print::say(&format!("  {word:<8}{:<16} {}", check.name, lines.next().unwrap_or_default()));
            lines.for_each(|line| print::say(&format!("{:27}{line}", "")));
        }
        for lock in self.locks.iter().filter(|lock| !matches!(lock.mode.as_str(), "AccessShareLock" | "RowShareLock")) {
            print::say(&format!("  {:<8}{} on {} for {:.1} ms", "lock", lock.mode, lock.object, lock.held_ms));
        }
        for finding in &self.findings {
            print::say(&format!("  {:<8}{}", "squawk", self::finding(finding)));
        }
        for note in &self.notes {
            print::say(&format!("  {:<8}{note}", "note"));
        }
    }

    /// What it did to rows and objects, in a line.
    pub(super) fn did(&self) -> String {
        let mut parts = rows_told(&self.rows);
        let objects = self
            .objects
            .iter()
            .map(|object| format!("{} {} {}", if object.created { "created" } else { "altered" }, object.kind, object.object));
        parts.extend(objects);
        let more = parts.len().saturating_sub(6);
        parts.truncate(6);
        if more > 0 {
            parts.push(format!("and {more} more"));
        }
        if parts.is_empty() { "changed nothing".to_owned() } else { parts.join("; ") }
    }
}

fn finding(finding: &Finding) -> String {
    let help = finding.help.as_ref().map(|help| format!(" {help}")).unwrap_or_default();
    format!("statement {}: {} ({}){help}", finding.statement, finding.message, finding.rule)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write the other control characters.
            '\n' | '\t' => out.push(character),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_escapes_what_a_server_says() {
        let check = Check { name: "run", result: Checked::Failed, message: "a < \"b\" & c\nsecond".into(), duration_ms: 1.0 };
        let block = Tested {
            id: "a".into(),
            kind: Kind::Rule,
            file: "a.wasm".into(),
            passed: false,
            duration_ms: 2000.0,
            checks: vec![check],
            required: Vec::new(),
            rows: BTreeMap::new(),
            objects: Vec::new(),
            locks: Vec::new(),
            statements: Vec::new(),
            findings: Vec::new(),
            notes: vec!["n\u{1}".into()],
        };
        let told = Told { passed: false, duration_ms: 2000.0, server: "17".into(), blocks: vec![block] };
        let xml = told.junit();
        assert!(
            xml.contains("<failure message=\"a &lt; &quot;b&quot; &amp; c\">a &lt; &quot;b&quot; &amp; c\nsecond</failure>"),
            "{xml}"
        );
        assert!(xml.contains("failures=\"1\"") && xml.contains("n\u{fffd}"), "{xml}");
    }
}
