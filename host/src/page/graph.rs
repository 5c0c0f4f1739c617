//! The order as a graph, drawn here: boxes in columns, what runs first on the left.

use super::{
    layout::{Slot, layout},
    text,
};
use crate::{Preview, PreviewAction, PreviewBlock, Status};
use maud::{Markup, html};
use plinth_manifest::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks that are drawn; more make no picture.
const MOST: usize = 200;
/// A character of the boxes' font.
const CHARACTER: f64 = 7.3;
/// As wide as the second line of a box may be, in these characters.
const NARROW: usize = 22;
/// A box's height, a lane's, and the gaps between boxes, between columns and around all.
const BOX: f64 = 42.0;
const LANE: f64 = 12.0;
const GAP: f64 = 14.0;
const BETWEEN: f64 = 52.0;
const MARGIN: f64 = 6.0;
/// How far below the top a column begins at most: who scrolls would otherwise meet an empty picture first.
const LOWEST: f64 = 120.0;

pub(super) fn section(plan: Result<&Preview, &String>, status: &Status) -> Markup {
    let preview = match plan {
        Ok(preview) => preview,
        Err(error) => return html! { p { "A boot now would be refused, so there is no order:" } pre { (error) } },
    };
    if preview.blocks.is_empty() {
        return html! { p { "No component was found." } };
    }
    html! {
        p { "What runs before what. Square boxes are migrations, round ones are rules. An arrow that follows from others is left out." }
        @if preview.blocks.len() > MOST {
            p { "These are " (preview.blocks.len()) " blocks, too many for a picture here: " code { "plinth plan --format dot" } " draws them." }
        } @else { (picture(preview, status)) }
        details {
            summary { "The same as a list" }
            (list(preview))
        }
    }
}

struct Placed {
    x: f64,
    y: f64,
    width: f64,
}

fn picture(preview: &Preview, status: &Status) -> Markup {
    let place = |id: &str| preview.blocks.iter().position(|block| block.id == id);
    let edges: BTreeSet<(usize, usize)> =
        preview.edges.iter().filter_map(|edge| Some((place(&edge.before)?, place(&edge.after)?))).collect();
    let layout = layout(preview.blocks.len(), &edges);
    let tall = |column: &Vec<Slot>| column.iter().map(|slot| size(*slot) + GAP).sum::<f64>() - GAP;
    let height = layout.columns.iter().map(tall).fold(0.0, f64::max);
    let mut blocks: BTreeMap<usize, Placed> = BTreeMap::new();
    // Where each edge passes: the middle of its lane at the left and at the right of the column.
    let mut lanes: BTreeMap<usize, Vec<(f64, f64, f64)>> = BTreeMap::new();
    let mut x = MARGIN;
    for column in &layout.columns {
        let longest = column.iter().filter_map(|slot| preview.blocks.get(block_of(*slot)?)).map(|block| block.id.len()).max();
        let width = longest.unwrap_or(0).max(NARROW) as f64 * CHARACTER + 24.0;
        let mut y = MARGIN + ((height - tall(column)) / 2.0).min(LOWEST);
        for slot in column {
            match slot {
                Slot::Block(place) => {
                    blocks.insert(*place, Placed { x, y, width });
                }
                Slot::Lane(edge) => lanes.entry(*edge).or_default().push((x, x + width, y + LANE / 2.0)),
            }
            y += size(*slot) + GAP;
        }
        x += width + BETWEEN;
    }
    let width = x - BETWEEN + MARGIN;
    let height = height + 2.0 * MARGIN;
    let paths = layout.edges.iter().enumerate().filter_map(|(number, (before, after))| {
        path(blocks.get(before)?, blocks.get(after)?, lanes.get(&number).map_or(&[], Vec::as_slice))
    });
    let label = format!("The order of {} blocks as a graph; the list below says the same", preview.blocks.len());
    html! {
        div.scroll tabindex="0" role="region" aria-label="The order as a graph" {
            svg.graph role="img" aria-label=(label) width=(tenth(width)) height=(tenth(height)) viewBox={ "0 0 " (tenth(width)) " " (tenth(height)) } {
                defs { marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" { path.head d="M0 0 8 4 0 8z" {} } }
                @for path in paths { path.edge d=(path) marker-end="url(#arrow)" {} }
                @for (place, block) in preview.blocks.iter().enumerate() {
                    @if let Some(placed) = blocks.get(&place) { (node(block, placed, status)) }
                }
            }
        }
    }
}

fn node(block: &PreviewBlock, placed: &Placed, status: &Status) -> Markup {
    let known = status.blocks.iter().find(|known| known.id == block.id);
    let failed = known.is_some_and(|known| known.outcome == "failed");
    let (class, state) = match block.action {
        _ if failed => ("failed", "failed"),
        _ if block.deferrals > 0 => ("pending", "deferred"),
        PreviewAction::Apply | PreviewAction::Resume => ("pending", "pending"),
        PreviewAction::Background => ("pending", "behind the boot"),
        PreviewAction::Reconcile => ("rule", "at every boot"),
        PreviewAction::Skip => ("applied", "applied"),
    };
    let round = if block.kind == Kind::Rule { BOX / 2.0 } else { 4.0 };
    let middle = placed.x + placed.width / 2.0;
    html! {
        g.(class) {
            title { (block.title) }
            rect x=(tenth(placed.x)) y=(tenth(placed.y)) width=(tenth(placed.width)) height=(BOX) rx=(round) {}
            text.id x=(tenth(middle)) y=(tenth(placed.y + 18.0)) text-anchor="middle" { (block.id) }
            text.state x=(tenth(middle)) y=(tenth(placed.y + 33.0)) text-anchor="middle" { (text::mark(state)) " " (block.kind) ", " (state) }
        }
    }
}

/// From the right of one box through its lanes to the left of another.
fn path(from: &Placed, to: &Placed, lanes: &[(f64, f64, f64)]) -> Option<String> {
    let (mut x, mut y) = (from.x + from.width, from.y + BOX / 2.0);
    let mut out = format!("M{} {}", tenth(x), tenth(y));
    let last = (to.x - 1.0, to.x, to.y + BOX / 2.0);
    for (left, right, height) in lanes.iter().copied().chain([last]) {
        let bend = (left - x) / 2.0;
        let points = [x + bend, y, left - bend, height, left, height].map(tenth);
        out.push_str(&format!("C{}", points.map(|point| point.to_string()).join(" ")));
        if (left, height) != (last.0, last.2) {
            out.push_str(&format!("H{}", tenth(right)));
        }
        (x, y) = (right, height);
    }
    x.is_finite().then_some(out)
}

fn list(preview: &Preview) -> Markup {
    html! {
        ol {
            @for block in &preview.blocks {
                li {
                    code { (block.id) } ", " (block.kind) ", " (block.action.as_str()) ": " (block.title)
                    @let before: Vec<String> = preview.edges.iter().filter(|edge| edge.after == block.id)
                        .map(|edge| format!("{} ({})", edge.before, edge.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", "))).collect();
                    @if !before.is_empty() { ". After " (before.join(", ")) }
                }
            }
        }
    }
}

fn block_of(slot: Slot) -> Option<usize> {
    match slot {
        Slot::Block(place) => Some(place),
        Slot::Lane(_) => None,
    }
}

fn size(slot: Slot) -> f64 {
    if matches!(slot, Slot::Block(_)) { BOX } else { LANE }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
