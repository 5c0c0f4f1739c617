//! What people and programs read. Results go to standard output, errors to standard error.
#![allow(clippy::print_stdout)]

use super::{arguments::Format, bundle::Listed, inspect::Inspected};
use crate::{
    BlockReport, BootError, ErrorClass, ObjectChange, Outcome, Preview, PreviewAction, Report, ReportError, Status, Verification,
    report::rows_told,
};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say(&text),
        Err(cause) => error(&format!("the result cannot be printed as JSON: {cause}")),
    }
}

/// Prints a text that ends with a line break.
pub(super) fn text(text: &str) {
    let _ = write!(io::stdout(), "{text}");
}

/// Prints a line to standard output. Whoever closed it wants no more.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints an error.
pub(super) fn error(message: &str) {
    let bold = if colours(io::stderr().is_terminal()) { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let _ = writeln!(io::stderr(), "{}error:{} {message}", bold.0, bold.1);
}

fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none()
}

/// Prints why a boot failed, with all that helps to find the cause.
pub(super) fn boot_error(failed: &BootError) {
    let Some((block, cause)) = failed.report().and_then(|report| failure(report)) else {
        error(&failed.to_string());
        return;
    };
    error(&format!("block {} failed: {}", block.id, cause.message));
    let mut lines = Vec::new();
    if let Some(sqlstate) = &cause.sqlstate {
        lines.push(("SQLSTATE", sqlstate.clone()));
    }
    if let Some(object) = &cause.object {
        lines.push(("object", object.clone()));
    }
    if let Some(statement) = cause.statement {
        lines.push(("statement", format!("{statement}: {}", cause.sql.as_deref().map(one_line).unwrap_or_default())));
    }
    lines.extend(cause.detail.iter().map(|detail| ("detail", detail.clone())));
    lines.extend(cause.hint.iter().map(|hint| ("what to do", hint.clone())));
    let undone = if block.outside {
        "it runs outside a transaction: what its statements did stays, and it runs again at the next boot"
    } else if cause.class == ErrorClass::Connection {
        "the server rolls it back"
    } else {
        "nothing of this block stays; blocks before it are committed"
    };
    lines.push(("state", undone.to_owned()));
    for (name, text) in lines {
        let _ = writeln!(io::stderr(), "  {name:<11}{text}");
    }
}

fn failure(report: &Report) -> Option<(&BlockReport, &ReportError)> {
    report.blocks.iter().find(|block| block.outcome == Outcome::Failed).and_then(|block| Some((block, block.error.as_ref()?)))
}

pub(super) fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let bold = colours(io::stdout().is_terminal());
    if !bold {
        table.force_no_tty();
    }
    table.set_header(head.iter().map(|name| if bold { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) }));
    table
}

/// A word about how a block ended, coloured on a terminal.
pub(super) fn word(text: &str) -> Cell {
    let cell = Cell::new(text);
    let colour = match text {
        "applied" | "adopted" | "assumed" | "apply" | "resume" | "holds" => Color::Green,
        "failed" | "does not hold" => Color::Red,
        "deferred" | "retired" | "pending" => Color::Yellow,
        _ => return cell,
    };
    if colours(io::stdout().is_terminal()) { cell.fg(colour) } else { cell }
}

pub(super) fn number(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// Prints a boot's report.
pub(super) fn report(report: &Report) {
    let mut table = table(&["block", "kind", "outcome", "statements", "ms", "what it did"]);
    for block in &report.blocks {
        let ran = !matches!(block.outcome, Outcome::Skipped | Outcome::Joined | Outcome::Retired | Outcome::Background);
        table.add_row([
            Cell::new(&block.id),
            Cell::new(block.kind),
            word(block.outcome.as_str()),
            number(if ran { block.statements.to_string() } else { String::new() }),
            number(if ran { format!("{:.1}", block.duration_ms) } else { String::new() }),
            Cell::new(did(block)),
        ]);
    }
    say(&trimmed(&table));
    for line in tail(report) {
        say(&line);
    }
}

/// A boot's report on standard error, short or as one line of JSON.
pub(super) fn aside(report: &Report, format: Format) {
    let mut out = io::stderr();
    match format {
        Format::Json => {
            let _ = writeln!(out, "{}", serde_json::to_string(report).unwrap_or_default());
        }
        Format::Table => {
            for line in tail(report) {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

/// A boot as a whole, in a line, and what somebody should know of it.
fn tail(report: &Report) -> Vec<String> {
    let boot = &report.boot;
    let id = boot.id.map_or_else(String::new, |id| format!(" {id}"));
    let mut lines = vec![format!(
        "boot{id} {}: {} components found, {} ran, {} skipped; {:.1} ms, {} round trips{}",
        boot.state.as_str(),
        boot.found,
        boot.ran,
        boot.skipped,
        boot.duration_ms,
        boot.round_trips,
        boot.build.as_ref().map_or_else(String::new, |build| format!("; build {build}"))
    )];
    if boot.ran > 0 {
        lines.push(match &boot.blocks_role {
            Some(role) => format!("blocks ran as {role}, which cannot write the ledger"),
            None => "blocks ran as the host's own role (`plinth setup --roles` gives them one of their own)".to_owned(),
        });
    }
    lines.extend(boot.retries.iter().map(|retry| {
        let what = retry.block.as_deref().unwrap_or("the boot");
        format!("tried again: {what}, after {} ms: {}", retry.pause_ms, one_line(&retry.cause))
    }));
    lines.extend(boot.notes.iter().map(|note| format!("note: {note}")));
    lines
}

/// What a block did, in a cell: rows, objects, locks that others feel, its own words.
fn did(block: &BlockReport) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(rows_told(&block.rows));
    parts.extend(objects(&block.objects));
    let strong: Vec<String> = block
        .locks
        .iter()
        .filter(|lock| !matches!(lock.mode.as_str(), "AccessShareLock" | "RowShareLock" | "RowExclusiveLock"))
        .filter(|lock| !block.objects.iter().any(|object| object.created && object.object == lock.object))
        .map(|lock| format!("{} on {}", lock.mode, lock.object))
        .collect();
    if !strong.is_empty() {
        parts.push(format!("locked {}", strong.join(", ")));
    }
    parts.extend(block.recalled.then(|| "not run: answered as before".to_owned()));
    parts.extend(block.message.clone());
    parts.extend(block.error.as_ref().map(|error| error.message.clone()));
    parts.join("; ")
}

/// Objects created and altered, the first of each.
pub(super) fn objects(objects: &[ObjectChange]) -> Vec<String> {
    let mut parts = Vec::new();
    for (verb, created) in [("created", true), ("altered", false)] {
        let objects: Vec<String> = objects
            .iter()
            .filter(|object| object.created == created)
            .map(|object| format!("{} {}", object.kind, object.object))
            .collect();
        if !objects.is_empty() {
            let (shown, rest) = objects.split_at(objects.len().min(4));
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            parts.push(format!("{verb} {}{more}", shown.join(", ")));
        }
    }
    parts
}

/// Lines without the blanks at their ends.
pub(super) fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Prints a plan.
pub(super) fn preview(preview: &Preview) {
    let mut table = table(&["", "block", "kind", "action", "title"]);
    for (place, block) in preview.blocks.iter().enumerate() {
        let action = block.action.as_str();
        table.add_row([number(place + 1), Cell::new(&block.id), Cell::new(block.kind), word(action), Cell::new(&block.title)]);
    }
    say(&trimmed(&table));
    for id in &preview.retired {
        say(&format!("{id}: its component is gone; the boot records it as retired and changes nothing else"));
    }
    for rule in &preview.rules {
        say(&format!("rule {}: {}", rule.block, rule.sentence()));
    }
    for note in &preview.notes {
        say(&format!("note: {note}"));
    }
    let pending = preview
        .blocks
        .iter()
        .filter(|block| matches!(block.action, PreviewAction::Apply | PreviewAction::Resume | PreviewAction::Background))
        .count();
    let rules = preview.blocks.iter().filter(|block| block.action == PreviewAction::Reconcile).count();
    let deferred = preview.blocks.iter().filter(|block| block.deferrals > 0).count();
    let deferred = if deferred > 0 { format!(", {deferred} put off at the last boot") } else { String::new() };
    say(&format!("{pending} pending, {rules} rules at every boot{deferred}"));
}

/// Prints the ledger's state.
pub(super) fn status(status: &Status) {
    if !status.ledger {
        say("no boot has reached this database yet");
    } else {
        let mut table = table(&["block", "kind", "outcome", "last changed", "deferrals", "rows, message"]);
        for block in &status.blocks {
            let outcome = if block.retired_at.is_some() { "retired" } else { block.outcome.as_str() };
            let rows = match &block.rows {
                serde_json::Value::Object(tables) => {
                    tables.iter().map(|(table, counts)| format!("{table} {}", counted(counts))).collect()
                }
                _ => Vec::new(),
            };
            let error = block
                .error
                .as_ref()
                .and_then(|error| error.get("message"))
                .and_then(|message| message.as_str())
                .map(str::to_owned);
            let said: Vec<String> = rows.into_iter().chain(block.message.clone()).chain(error).collect();
            table.add_row([
                Cell::new(&block.id),
                Cell::new(&block.kind),
                word(outcome),
                Cell::new(block.last_changed.as_deref().and_then(|time| time.get(..19)).unwrap_or("")),
                number(if block.deferrals > 0 { block.deferrals.to_string() } else { String::new() }),
                Cell::new(said.join("; ")),
            ]);
        }
        say(&trimmed(&table));
    }
    if let Some(boot) = &status.last_boot {
        let field = |name: &str| {
            boot.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
        };
        say(&format!("last boot {}: {}, started {} by {}", field("id"), field("state"), field("started"), field("instance")));
    }
    if let Some(running) = &status.running {
        let seconds = running.seconds.map_or_else(String::new, |seconds| format!(" for {seconds} s"));
        let blocked = match running.blocked_by.as_slice() {
            [] => String::new(),
            by => format!(", waits for process {}", by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let (verb, sql) = (if running.active { "runs" } else { "ran last" }, one_line(&running.statement));
        let stands = if running.abandoned { "left behind on the server by a boot that is gone" } else { "running" };
        say(&format!("{stands}: {}{seconds}; {verb} for {} s{blocked}: {sql}", running.block, running.statement_seconds));
    }
    for backfill in &status.backfills {
        say(&format!("backfill: {}: {}", backfill.id, backfill.told()));
    }
    for waiting in &status.waiting {
        say(&format!("waiting: {} for {} s", waiting.instance, waiting.seconds));
    }
    if !status.pending.is_empty() {
        say(&format!("pending: {}", status.pending.join(", ")));
    }
}

fn counted(counts: &serde_json::Value) -> String {
    let count = |verb| {
        counts.get(verb).and_then(serde_json::Value::as_u64).filter(|count| *count > 0).map(|count| format!("{count} {verb}"))
    };
    ["inserted", "updated", "deleted"].into_iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

/// Prints what a look at the post-conditions found.
pub(super) fn verification(found: &Verification) {
    let mut table = table(&["block", "kind", "conditions", "", "what was found"]);
    for block in &found.blocks {
        let error = block.error.as_ref().map(ToString::to_string).unwrap_or_default();
        let holds = if block.error.is_none() { "holds" } else { "does not hold" };
        table.add_row([Cell::new(&block.id), Cell::new(block.kind), number(block.conditions), word(holds), Cell::new(error)]);
    }
    say(&trimmed(&table));
    if !found.not_applied.is_empty() {
        say(&format!("not applied yet: {}", found.not_applied.join(", ")));
    }
}

/// Prints what a component says about itself.
/// A bundle's blocks, in the order in which they run.
pub(super) fn listed(bundle: &Listed) {
    let mut table = table(&["block", "kind", "bytes", "code", "signed", "sha256"]);
    for block in &bundle.blocks {
        table.add_row([
            block.id.clone(),
            block.kind.to_owned(),
            block.bytes.to_string(),
            block.code_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            if block.signed { "yes" } else { "no" }.to_owned(),
            block.digest.get(..12).unwrap_or_default().to_owned(),
        ]);
    }
    say(&trimmed(&table));
    say(&format!("{}: {} blocks, {} bytes", bundle.file, bundle.blocks.len(), bundle.bytes));
}

pub(super) fn inspected(inspected: &Inspected) {
    let manifest = &inspected.manifest;
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    let lines = [
        ("id", manifest.id.to_string()),
        ("kind", manifest.kind.to_string()),
        ("title", manifest.title.clone()),
        ("team", manifest.team.clone().unwrap_or_else(|| "-".to_owned())),
        ("after", list(manifest.after.iter().map(ToString::to_string).collect())),
        ("requires", list(manifest.requires.iter().map(ToString::to_string).collect())),
        ("provides", list(manifest.provides.iter().map(ToString::to_string).collect())),
        ("reads", list(manifest.reads.iter().map(ToString::to_string).collect())),
        ("writes", list(manifest.writes.iter().map(ToString::to_string).collect())),
        ("imports", list(inspected.interfaces.imports.clone())),
        ("exports", list(inspected.interfaces.exports.clone())),
        ("file", format!("{}, {} bytes", inspected.file, inspected.bytes)),
        ("sha256", inspected.digest.clone()),
    ];
    for (name, text) in lines {
        say(&format!("{name:<10}{text}"));
    }
}
