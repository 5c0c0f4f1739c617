//! Two rules that write one column flip it at every boot, unless their rows are disjoint.

use super::PlanProblem;
use plinth_manifest::{Kind, Manifest, Write};
use std::collections::BTreeMap;

/// Every pair of rules that claim a row of the same column.
pub(crate) fn conflicts(blocks: &[&Manifest]) -> Vec<PlanProblem> {
    let mut by_table: BTreeMap<String, Vec<(&Manifest, &Write)>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.kind == Kind::Rule) {
        for write in &block.writes {
            by_table.entry(write.table.to_string()).or_default().push((block, write));
        }
    }
    let mut problems = Vec::new();
    for writers in by_table.values() {
        for (place, (first, mine)) in writers.iter().enumerate() {
            for (second, theirs) in writers.iter().skip(place + 1) {
                if first.id != second.id && mine.conflicts(theirs) {
                    let mut rules = [first.id.clone(), second.id.clone()];
                    rules.sort();
                    let columns = if mine.column.is_some() { &mine.columns } else { &theirs.columns };
                    let [first, second] = rules;
                    problems.push(PlanProblem::Conflict { first, second, columns: columns.clone() });
                }
            }
        }
    }
    problems.sort_by_key(ToString::to_string);
    problems.dedup();
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str, writes: &str) -> Manifest {
        Manifest::parse(&format!("id = \"{id}\"\nkind = \"rule\"\ntitle = \"t\"\nwrites = [{writes}]")).unwrap()
    }

    fn found(rules: &[Manifest]) -> Vec<String> {
        conflicts(&rules.iter().collect::<Vec<_>>()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_rules_that_write_one_column_are_refused_with_both_ids() {
        let texts = found(&[rule("b", "\"t.x\""), rule("a", "\"t.x\", \"t.y\""), rule("c", "\"t.z\"")]);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].starts_with("a, b: both rules write t.x"), "{texts:?}");
        assert_eq!(found(&[rule("a", "\"t.*\""), rule("b", "\"t.x\"")]).len(), 1, "a whole table has every column");
    }

    #[test]
    fn disjoint_row_sets_are_accepted_if_both_name_them() {
        let named = |rows: &str| format!("{{ column = \"t.x\", rows = \"{rows}\" }}");
        assert!(found(&[rule("a", &named("odd")), rule("b", &named("even"))]).is_empty());
        assert_eq!(found(&[rule("a", &named("odd")), rule("b", &named("odd"))]).len(), 1);
        assert_eq!(found(&[rule("a", &named("odd")), rule("b", "\"t.x\"")]).len(), 1);
    }
}
