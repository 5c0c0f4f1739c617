//! `plinth baseline`: what was found, for people.

use super::print::{number, say, table, trimmed, word};
use crate::{Adoption, Baseline};
use comfy_table::Cell;

/// Prints what a baseline found and recorded.
pub(super) fn print(baseline: &Baseline) {
    let mut table = table(&["block", "result", "objects", "what was found"]);
    for block in &baseline.blocks {
        let (result, found) = match block.result {
            Adoption::Known => ("applied earlier", String::new()),
            Adoption::Adopted => ("adopted", "all that it provides is there".to_owned()),
            Adoption::Assumed => ("assumed", "provides nothing to look at; taken for applied, as told".to_owned()),
            Adoption::Differs => ("pending", block.differences.join("; ")),
            Adoption::Unchecked => {
                ("pending", format!("provides nothing to look at: if it was applied here, add --assume {}", block.id))
            }
        };
        table.add_row([Cell::new(&block.id), word(result), number(block.objects), Cell::new(found)]);
    }
    say(&trimmed(&table));
    let count = |of: fn(&Adoption) -> bool| baseline.blocks.iter().filter(|block| of(&block.result)).count();
    say(&format!(
        "{} recorded as applied, {} applied earlier, {} pending; rules run at the next boot",
        count(|result| result.is_new()),
        count(|result| *result == Adoption::Known),
        count(|result| matches!(result, Adoption::Differs | Adoption::Unchecked)),
    ));
}
