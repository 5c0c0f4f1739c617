//! A rehearsal as people read it.

use super::print::{number, objects, one_line, say, table, trimmed, word};
use crate::{HeldLock, Rehearsal, Rehearsed, RehearsedBlock, report::rows_told};
use comfy_table::Cell;

/// The most of a statement in a line.
const SQL: usize = 100;

/// Prints a rehearsal: a line for each block, then what somebody should look at.
pub(super) fn print(rehearsal: &Rehearsal) {
    let mut table = table(&["block", "kind", "outcome", "statements", "ms", "what it would do"]);
    for block in &rehearsal.blocks {
        let ran = !matches!(block.outcome, Rehearsed::Skipped | Rehearsed::NotTried);
        table.add_row([
            Cell::new(&block.id),
            Cell::new(block.kind),
            word(block.outcome.as_str()),
            number(if ran { block.statements.len().to_string() } else { String::new() }),
            number(if ran { format!("{:.1}", block.duration_ms) } else { String::new() }),
            Cell::new(would_do(block).join("; ")),
        ]);
    }
    say(&trimmed(&table));
    for block in &rehearsal.blocks {
        for finding in &block.findings {
            say(&format!("{}, statement {}: {} ({})", block.id, finding.statement, finding.message, finding.rule));
        }
        if let Some(slowest) = block.statements.iter().max_by(|one, other| one.duration_ms.total_cmp(&other.duration_ms))
            && slowest.duration_ms >= 100.0
        {
            let sql: String = one_line(&slowest.sql).chars().take(SQL).collect();
            say(&format!("{}, statement {}: {:.0} ms: {sql}", block.id, slowest.number, slowest.duration_ms));
        }
        if let Some(error) = &block.error {
            say(&format!("{}: {error}", block.id));
            if let Some(hint) = &error.hint {
                say(&format!("  what to do: {hint}"));
            }
        }
    }
    for note in &rehearsal.notes {
        say(&format!("note: {note}"));
    }
    say(&summary(rehearsal));
}

/// What a block would do, in parts.
pub(super) fn would_do(block: &RehearsedBlock) -> Vec<String> {
    let mut parts = rows_told(&block.rows);
    parts.extend(objects(&block.objects));
    let strong: Vec<String> = block.strong_locks().map(lock).collect();
    if !strong.is_empty() {
        parts.push(format!("locks {}", strong.join(", ")));
    }
    parts.extend(block.message.clone());
    parts.extend(block.error.as_ref().map(|error| error.message.clone()));
    parts
}

/// A lock and its time.
pub(super) fn lock(lock: &HeldLock) -> String {
    format!("{} on {} for {:.1} ms", lock.mode, lock.object, lock.held_ms)
}

/// A rehearsal in a line.
pub(super) fn summary(rehearsal: &Rehearsal) -> String {
    let count = |outcome| rehearsal.blocks.iter().filter(|block| block.outcome == outcome).count();
    let findings: usize = rehearsal.blocks.iter().map(|block| block.findings.len()).sum();
    let outcomes = [Rehearsed::Applied, Rehearsed::Unchanged, Rehearsed::Deferred, Rehearsed::Failed, Rehearsed::NotTried];
    let counts: Vec<String> = outcomes
        .into_iter()
        .filter(|outcome| count(*outcome) > 0)
        .map(|outcome| format!("{} {}", count(outcome), outcome.as_str()))
        .collect();
    let counts = if counts.is_empty() { "nothing to run".to_owned() } else { counts.join(", ") };
    format!("rehearsed and rolled back in {:.1} ms: {counts}; {findings} findings", rehearsal.duration_ms)
}
