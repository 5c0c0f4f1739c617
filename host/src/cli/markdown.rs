//! A plan and a rehearsal for a pull request.

use super::{
    print::one_line,
    rehearsal::{lock, summary, would_do},
};
use crate::{Preview, Rehearsal, RehearsedBlock};
use std::fmt::Write;

/// A plan as a table.
pub(super) fn preview(preview: &Preview) -> String {
    let mut out = String::from("### Plan\n\n|  | block | kind | action | title |\n|---:|---|---|---|---|\n");
    for (place, block) in preview.blocks.iter().enumerate() {
        let (id, title) = (cell(&block.id), cell(&block.title));
        let _ = writeln!(out, "| {} | {id} | {} | {} | {title} |", place + 1, block.kind, block.action.as_str());
    }
    tail(&mut out, &preview.retired, &preview.notes);
    for rule in &preview.rules {
        let _ = write!(out, "\nRule {}: {}\n", cell(&rule.block), cell(&rule.sentence()));
    }
    out
}

/// A rehearsal: a table, findings, and the details of each block folded away.
pub(super) fn rehearsal(rehearsal: &Rehearsal) -> String {
    let mut out = format!("### Rehearsal: {}\n\n", if rehearsal.passed { "passed" } else { "failed" });
    let _ = writeln!(out, "{}\n", summary(rehearsal));
    out.push_str("| block | kind | outcome | ms | what it would do |\n|---|---|---|---:|---|\n");
    for block in &rehearsal.blocks {
        let ms = if block.statements.is_empty() { String::new() } else { format!("{:.1}", block.duration_ms) };
        let did = cell(&would_do(block).join("; "));
        let _ = writeln!(out, "| {} | {} | {} | {ms} | {did} |", cell(&block.id), block.kind, block.outcome.as_str());
    }
    let findings: Vec<_> =
        rehearsal.blocks.iter().flat_map(|block| block.findings.iter().map(move |found| (block, found))).collect();
    if !findings.is_empty() {
        out.push_str("\n**Findings**\n\n");
        for (block, finding) in findings {
            let help = finding.help.as_ref().map_or_else(String::new, |help| format!(" {}", cell(help)));
            let (id, message) = (cell(&block.id), cell(&finding.message));
            let _ = writeln!(out, "- {id}, statement {}: {message}{help} (`{}`)", finding.statement, finding.rule);
        }
    }
    for block in rehearsal.blocks.iter().filter(|block| !block.statements.is_empty()) {
        details(&mut out, block);
    }
    tail(&mut out, &rehearsal.retired, &rehearsal.notes);
    out
}

fn details(out: &mut String, block: &RehearsedBlock) {
    let _ = write!(out, "\n<details><summary>{}</summary>\n\n", html(&block.id));
    if let Some(error) = &block.error {
        let _ = writeln!(out, "**{}**\n", cell(&error.to_string()));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "What to do: {}\n", cell(hint));
        }
    }
    out.push_str("| | ms | rows | expected | cost | statement |\n|---:|---:|---:|---:|---:|---|\n");
    for statement in &block.statements {
        let rows = statement.rows.map_or_else(|| "failed".to_owned(), |rows| rows.to_string());
        let (expected, cost) =
            statement.estimate.map(|estimate| (estimate.rows.to_string(), format!("{:.1}", estimate.cost))).unwrap_or_default();
        let sql = code(&statement.sql);
        let _ = writeln!(out, "| {} | {:.1} | {rows} | {expected} | {cost} | {sql} |", statement.number, statement.duration_ms);
    }
    if !block.locks.is_empty() {
        out.push('\n');
        for held in &block.locks {
            let _ = writeln!(out, "- {}", cell(&lock(held)));
        }
    }
    out.push_str("\n</details>\n");
}

fn tail(out: &mut String, retired: &[String], notes: &[String]) {
    for id in retired {
        let _ = write!(out, "\n{}: its component is gone; the boot records it as retired and changes nothing else\n", cell(id));
    }
    for note in notes {
        let _ = write!(out, "\nNote: {}\n", cell(note));
    }
}

/// Foreign text in a line of Markdown: it stays in its cell, makes no tag, and calls nobody.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A word that begins with @ or # would be a person or an issue.
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '|' | '*' | '[' | ']' | '`' | '\\' | '~' | '_' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Foreign text where Markdown is not read.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A statement as code in a cell. Inside `<code>` no backtick has to be counted.
fn code(sql: &str) -> String {
    format!("<code>{}</code>", cell(sql))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Estimate, Finding, Rehearsed, RehearsedStatement, report::HeldLock};
    use plinth_manifest::Kind;

    #[test]
    fn a_rehearsal_for_a_pull_request() {
        let mut block = RehearsedBlock::new("0001_a", Kind::Migration, Rehearsed::Applied);
        block.duration_ms = 12.3;
        block.statements.push(RehearsedStatement {
            number: 1,
            sql: "update t\n  set a = 1 | 2".into(),
            duration_ms: 11.0,
            rows: Some(10),
            estimate: Some(Estimate { rows: 9, cost: 1.25 }),
        });
        block.locks.push(HeldLock { object: "t".into(), mode: "AccessExclusiveLock".into(), held_ms: 11.5 });
        block.findings.push(Finding { statement: 1, rule: "some-rule".into(), message: "a <b>".into(), help: None });
        let mut other = RehearsedBlock::new("0002_b", Kind::Migration, Rehearsed::NotTried);
        other.message = Some("it runs outside".into());
        let rehearsed = Rehearsal {
            duration_ms: 20.0,
            passed: true,
            blocks: vec![block, other],
            retired: Vec::new(),
            notes: vec!["n".into()],
        };
        assert_eq!(
            rehearsal(&rehearsed),
            "### Rehearsal: passed

rehearsed and rolled back in 20.0 ms: 1 applied, 1 not tried; 1 findings

| block | kind | outcome | ms | what it would do |
|---|---|---|---:|---|
| 0001\\_a | migration | applied | 12.3 | locks AccessExclusiveLock on t for 11.5 ms |
| 0002\\_b | migration | not tried |  | it runs outside |

**Findings**

- 0001\\_a, statement 1: a &lt;b&gt; (`some-rule`)

<details><summary>0001_a</summary>

| | ms | rows | expected | cost | statement |
|---:|---:|---:|---:|---:|---|
| 1 | 11.0 | 10 | 9 | 1.2 | <code>update t set a = 1 \\| 2</code> |

- AccessExclusiveLock on t for 11.5 ms

</details>

Note: n
"
        );
    }
}
