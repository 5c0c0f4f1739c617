//! Where every block stands, and what is put off.

use super::text;
use crate::{BlockStatus, Status};
use maud::{Markup, html};

pub(super) fn section(status: &Status) -> Markup {
    if status.blocks.is_empty() {
        return html! { p { "The ledger knows no block yet." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Every block's last outcome" {
            table {
                caption { "Every block that the ledger knows, with its last outcome" }
                thead { tr { th scope="col" { "Block" } th scope="col" { "Last outcome" } th scope="col" { "What it did or said" }
                    th scope="col" { "Last changed" } th scope="col" { "First applied" } th scope="col" { "Kind" } } }
                tbody {
                    @for block in &status.blocks {
                        tr {
                            th scope="row" { code { (text::id(&block.id)) } }
                            td { (text::word(if block.retired_at.is_some() { "retired" } else { &block.outcome })) }
                            td.told { (did(block)) }
                            td { @if let Some(time) = &block.last_changed { (text::time(time)) } }
                            td { @if let Some(time) = &block.first_applied { (text::time(time)) } }
                            td { (block.kind) }
                        }
                    }
                }
            }
        }
    }
}

fn did(block: &BlockStatus) -> String {
    let rows = serde_json::from_value(block.rows.clone()).map(|rows| text::rows(&rows)).unwrap_or_default();
    let error = block.error.as_ref().map(text::error).unwrap_or_default();
    let parts = [rows, block.message.clone().unwrap_or_default(), error];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Blocks that put their work off.
pub(super) fn deferrals(status: &Status) -> Markup {
    let put_off: Vec<&BlockStatus> =
        status.blocks.iter().filter(|block| block.retired_at.is_none() && block.deferrals > 0).collect();
    html! {
        @if put_off.is_empty() { p { "No block puts its work off." } }
        @else {
            ul {
                @for block in put_off {
                    li {
                        code { (block.id) } ": put off " (block.deferrals) @if block.deferrals == 1 { " time" } @else { " times in a row" }
                        @if let Some(team) = &block.team { ", team " (team) }
                        @if let Some(message) = &block.message { ": " (message) }
                    }
                }
            }
        }
    }
}
