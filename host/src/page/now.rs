//! What runs now, and what somebody should look at first.

use super::{Page, text};
use crate::{Progress, RunningBlock, Stage};
use maud::{Markup, html};
use std::time::Instant;

pub(super) fn section(page: &Page<'_>) -> Markup {
    let status = &page.history.status;
    let last = page.history.boots.first();
    let failed: Vec<&str> = status
        .blocks
        .iter()
        .filter(|block| block.retired_at.is_none() && block.outcome == "failed")
        .map(|block| block.id.as_str())
        .collect();
    html! {
        dl.facts {
            @if let Some(progress) = page.progress { div { dt { "This process" } dd { (stands(progress)) } } }
            @match last {
                None => div { dt { "Last boot" } dd { "None has reached this database yet." } },
                Some(boot) => {
                    div { dt { "Last boot" } dd { (text::word(&boot.state)) " number " (boot.id) ", " (text::time(&boot.started)) } }
                    div { dt { "By" } dd { (boot.instance) @if let Some(build) = &boot.build { ", build " (build) } } }
                    @if boot.state == "running" {
                        div { dt { "Done so far" } dd { (boot.outcomes.len()) @if boot.outcomes.len() == 1 { " block" } @else { " blocks" } } }
                    }
                }
            }
            @if let Some(running) = &status.running {
                div { dt { @if running.abandoned { "Left behind" } @else { "Running" } } dd { (runs(running)) } }
            }
            @for waiting in &status.waiting { div { dt { "Waiting" } dd { (waiting.instance) " for " (waiting.seconds) " s" } } }
            @for backfill in &status.backfills { div { dt { "Backfill" } dd { code { (backfill.id) } ": " (backfill.told()) } } }
            @if !failed.is_empty() { div { dt { "Failed" } dd { (failed.join(", ")) } } }
            @if !status.pending.is_empty() { div { dt { "Pending" } dd { (status.pending.join(", ")) } } }
            @for (name, fact) in page.facts { div { dt { (name) } dd { (fact) } } }
        }
    }
}

/// What the server works on, for whichever process.
fn runs(running: &RunningBlock) -> Markup {
    html! {
        code { (running.block) }
        @if let Some(seconds) = running.seconds { " for " (seconds) " s" }
        ", statement for " (running.statement_seconds) " s" @if !running.active { " and answered" } ": "
        code { (running.statement) }
        @if running.abandoned { ". The boot that sent it is gone: nobody will commit it." }
        @if !running.blocked_by.is_empty() {
            ". Waits for a lock of process " (running.blocked_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

fn stands(progress: &Progress) -> Markup {
    let seconds = |since: Option<Instant>| since.map(|since| format!(" for {} s", since.elapsed().as_secs())).unwrap_or_default();
    let stage = match progress.stage {
        Stage::Idle => "idle",
        Stage::Looking => "looking",
        Stage::Waiting => "waiting",
        Stage::Running => "running",
        Stage::Retrying => "retrying",
        Stage::Ready => "ready",
        Stage::Failed => "failed",
    };
    html! {
        (text::word(stage)) (seconds(progress.since))
        @if let Some(holder) = &progress.holder { ", for " (holder) }
        @if let Some(block) = &progress.block {
            ": block " (progress.place) " of " (progress.of) ", " code { (block) } (seconds(progress.block_since))
            @if let Some(sql) = &progress.sql { ", statement " (progress.statement) (seconds(progress.statement_since)) ": " code { (sql) } }
        }
        @if let Some(cause) = &progress.cause { ". " (cause) }
    }
}
