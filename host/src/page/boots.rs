//! Boots over time.

use super::text;
use crate::{PastBoot, PastOutcome};
use maud::{Markup, html};

pub(super) fn section(boots: &[PastBoot]) -> Markup {
    if boots.is_empty() {
        return html! { p { "No boot is in the ledger." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="The last boots" {
            table {
                caption { "The last " @if boots.len() == 1 { "boot" } @else { (boots.len()) " boots" } " that had something to do, newest first" }
                thead { tr { th.number scope="col" { "Boot" } th scope="col" { "Started" } th scope="col" { "State" } th.number scope="col" { "Took" }
                    th scope="col" { "Build" } th scope="col" { "Instance" } th scope="col" { "Blocks" } th scope="col" { "What changed" } } }
                tbody { @for boot in boots { (row(boot)) } }
            }
        }
    }
}

fn row(boot: &PastBoot) -> Markup {
    let counts = ["applied", "unchanged", "deferred", "failed", "retired"].map(|outcome| {
        let count = boot.outcomes.iter().filter(|ran| ran.outcome == outcome).count();
        (count > 0).then(|| format!("{count} {outcome}"))
    });
    let changed: Vec<&PastOutcome> = boot
        .outcomes
        .iter()
        .filter(|outcome| outcome.changed() > 0 || outcome.error.is_some() || outcome.message.is_some())
        .collect();
    html! {
        tr {
            th.number scope="row" { (boot.id) }
            td { (text::time(&boot.started)) }
            td { (text::word(&boot.state)) }
            td.number { @if let Some(ms) = boot.duration_ms { (text::duration(ms)) } }
            td { @if let Some(build) = &boot.build { (build) } }
            td { (boot.instance) }
            td { (counts.into_iter().flatten().collect::<Vec<_>>().join(", ")) }
            td {
                @if !changed.is_empty() {
                    details {
                        summary { (changed.len()) @if changed.len() == 1 { " block" } @else { " blocks" } span.hidden { " in boot " (boot.id) } }
                        ul { @for outcome in changed { li { code { (outcome.block) } ": " (did(outcome)) } } }
                    }
                }
            }
        }
    }
}

fn did(outcome: &PastOutcome) -> String {
    let error = outcome.error.as_ref().map(text::error).unwrap_or_default();
    let journal = outcome.journal.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join(" | ");
    let parts = [text::rows(&outcome.rows), outcome.message.clone().unwrap_or_default(), error, journal];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}
