//! How far the data had drifted at each boot: for each rule, a strip with a bar a boot.
//!
//! A strip of its own for each rule, and not a line of its own colour in one plot: nothing depends on telling colours apart. The
//! height is logarithmic, so that the first boot's thousands leave a single row visible, and every bar has its number.

use super::text;
use crate::{Evidence, History, PastBoot, PastOutcome};
use maud::{Markup, html};

/// A boot's share of the width, the plot's height, the room for numbers above it and for boots below it.
const STEP: f64 = 28.0;
const HEIGHT: f64 = 56.0;
/// The height of a plot without any bar.
const FLAT: f64 = 8.0;
/// Digits of a boot's number that fit below its bar; of longer ones, every second is shown.
const DIGITS: usize = 4;
const ABOVE: f64 = 18.0;
const BELOW: f64 = 22.0;

pub(super) fn section(history: &History) -> Markup {
    let rules: Vec<&Evidence> = history.rules.iter().collect();
    let boots: Vec<&PastBoot> = history.boots.iter().rev().collect();
    if rules.is_empty() || boots.is_empty() {
        return html! { p { "No rule has run on this database yet." } };
    }
    html! {
        p { "Rows that each rule had to change, boot by boot, oldest on the left. A rule that has nothing to do for long is one that can go." }
        p.legend { "A number above a bar: rows changed. " span.mark { "•" } " nothing to change. " span.mark { "◇" } " put off. " span.mark { "✕" } " failed. No sign: it did not run." }
        @for rule in &rules { (strip(rule, &boots)) }
        details {
            summary { "The same as a table" }
            (table(&rules, &boots))
        }
    }
}

fn strip(rule: &Evidence, boots: &[&PastBoot]) -> Markup {
    let most = boots.iter().filter_map(|boot| of(boot, &rule.block)).map(PastOutcome::changed).max().unwrap_or(0);
    let width = STEP * boots.len() as f64;
    let tallest = if most == 0 { FLAT } else { HEIGHT };
    let foot = ABOVE + tallest;
    let height = foot + BELOW;
    let every = if boots.last().is_some_and(|boot| boot.id.to_string().len() > DIGITS) { 2 } else { 1 };
    let removed = if boots.last().and_then(|boot| of(boot, &rule.block)).is_some_and(|last| last.outcome == "retired") {
        "Removed. "
    } else {
        ""
    };
    let summary = format!("{}: rows changed in each of the last {} boots, at most {most}", rule.block, boots.len());
    html! {
        figure {
            figcaption { code { (rule.block) } " – " (removed) (rule.sentence()) "." }
            div.scroll.newest tabindex="0" role="region" aria-label={ "Drift of " (rule.block) } {
                svg.drift role="img" aria-label=(summary) width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } {
                    line.axis x1="0" y1=(foot) x2=(width) y2=(foot) {}
                    @for (place, boot) in boots.iter().enumerate() {
                        (bar(place as f64 * STEP + STEP / 2.0, foot, boot, of(boot, &rule.block), most))
                        // The newest has its number in any case.
                        @if (boots.len() - 1 - place).is_multiple_of(every) {
                            text.boot x=(place as f64 * STEP + STEP / 2.0) y=(foot + 15.0) text-anchor="middle" { (boot.id) }
                        }
                    }
                }
            }
        }
    }
}

fn bar(middle: f64, foot: f64, boot: &PastBoot, outcome: Option<&PastOutcome>, most: u64) -> Markup {
    let changed = outcome.map_or(0, PastOutcome::changed);
    let tall = tall(changed, most);
    let sign = match outcome.map(|outcome| outcome.outcome.as_str()) {
        Some("unchanged") => Some("•"),
        Some("deferred") => Some("◇"),
        Some("failed") => Some("✕"),
        Some("retired") => Some("−"),
        _ => None,
    };
    html! {
        g {
            title { "Boot " (boot.id) ", " (boot.started.get(..16).unwrap_or(&boot.started).replace('T', " ")) ": "
                @match outcome { Some(outcome) => { (outcome.outcome) ", " (changed) " rows" } None => "did not run" } }
            @if changed > 0 {
                rect.bar x=(middle - 9.0) y=(foot - tall) width="18" height=(tall) rx="2" {}
                text.count x=(middle) y=(foot - tall - 5.0) text-anchor="middle" { (short(changed)) }
            } @else if let Some(sign) = sign {
                text.sign x=(middle) y=(foot - 6.0) text-anchor="middle" { (sign) }
            }
        }
    }
}

/// The height of a bar, on a logarithmic scale that shows one row.
fn tall(changed: u64, most: u64) -> f64 {
    if changed == 0 {
        return 0.0;
    }
    let share = (changed as f64).ln_1p() / (most.max(1) as f64).ln_1p();
    (share * HEIGHT * 10.0).round().max(60.0) / 10.0
}

/// A count that fits above a bar.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn table(rules: &[&Evidence], boots: &[&PastBoot]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Drift as a table" {
            table {
                caption { "Rows that each rule changed, by boot" }
                thead { tr { th.number scope="col" { "Boot" } th scope="col" { "Started" } @for rule in rules { th.number scope="col" { code { (rule.block) } } } } }
                tbody {
                    @for boot in boots.iter().rev() {
                        tr {
                            th.number scope="row" { (boot.id) }
                            td { (text::time(&boot.started)) }
                            @for rule in rules {
                                td.number {
                                    @match of(boot, &rule.block) {
                                        None => "did not run",
                                        Some(outcome) if matches!(outcome.outcome.as_str(), "applied" | "unchanged") => (outcome.changed()),
                                        Some(outcome) => (outcome.outcome),
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a rule did in a boot: its last try.
fn of<'a>(boot: &'a PastBoot, rule: &str) -> Option<&'a PastOutcome> {
    boot.outcomes.iter().rfind(|outcome| outcome.block == rule)
}

#[cfg(test)]
mod tests {
    use super::{HEIGHT, short, tall};

    #[test]
    fn one_row_is_seen_beside_thousands() {
        assert_eq!((tall(0, 5_000), tall(5_000, 5_000)), (0.0, HEIGHT));
        assert!(tall(1, 1_000_000) >= 6.0 && tall(10, 5_000) > tall(1, 5_000));
        assert_eq!((short(547).as_str(), short(12_345).as_str(), short(3_200_000).as_str()), ("547", "12k", "3M"));
    }
}
