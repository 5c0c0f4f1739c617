//! The laws of planning, on random sets of blocks.

use super::{PlanProblem, order};
use plinth_manifest::Manifest;
use proptest::{collection::vec, prelude::*, sample::Index};
use std::collections::{BTreeSet, HashMap};

/// A block by its number: what it runs after, provides, requires, reads and writes, each by small numbers.
#[derive(Clone, Debug)]
struct Block {
    rule: bool,
    after: Vec<usize>,
    provides: BTreeSet<usize>,
    requires: BTreeSet<usize>,
    reads: BTreeSet<usize>,
    writes: BTreeSet<usize>,
}

fn blocks() -> impl Strategy<Value = Vec<Manifest>> {
    let few = || vec(0..12_usize, 0..3).prop_map(BTreeSet::from_iter);
    let block = (any::<bool>(), vec(0..14_usize, 0..2), few(), few(), few(), few())
        .prop_map(|(rule, after, provides, requires, reads, writes)| Block { rule, after, provides, requires, reads, writes });
    vec(block, 1..14).prop_map(|blocks| blocks.iter().enumerate().map(|(number, block)| manifest(number, block)).collect())
}

fn manifest(number: usize, block: &Block) -> Manifest {
    let list =
        |numbers: &BTreeSet<usize>, form: fn(usize) -> String| numbers.iter().map(|n| form(*n)).collect::<Vec<_>>().join(", ");
    let tables = |numbers| list(numbers, |n| format!("{{ table = \"t{n}\" }}"));
    let columns = |numbers| list(numbers, |n| format!("\"t.c{n}\""));
    let after: Vec<String> =
        block.after.iter().filter(|other| **other != number).map(|other| format!("\"b{other:02}\"")).collect();
    let text = format!(
        "id = \"b{number:02}\"\nkind = \"{}\"\ntitle = \"t\"\nafter = [{}]\nprovides = [{}]\nrequires = [{}]\nreads = [{}]\nwrites = [{}]\n",
        if block.rule { "rule" } else { "migration" },
        after.join(", "),
        tables(&block.provides),
        tables(&block.requires),
        columns(&block.reads),
        columns(&block.writes),
    );
    Manifest::parse(&text).unwrap()
}

fn ordered(blocks: &[Manifest]) -> Result<Vec<String>, Vec<PlanProblem>> {
    let refs: Vec<&Manifest> = blocks.iter().collect();
    order(&refs).map(|places| places.into_iter().map(|place| refs[place].id.to_string()).collect())
}

/// Whether the first must run before the second, by the words of the manifests, written down once more and naively.
fn before(first: &Manifest, second: &Manifest) -> bool {
    use plinth_manifest::Kind::{Migration, Rule};
    if first.id == second.id || (first.kind, second.kind) == (Rule, Migration) {
        return false;
    }
    let provides = second.requires.iter().any(|object| first.provides.contains(object));
    let reads = second.reads.iter().filter(|column| !second.writes.iter().any(|own| own.columns == **column));
    (first.kind, second.kind) == (Migration, Rule)
        || second.after.contains(&first.id)
        || provides
        || reads.into_iter().any(|column| first.writes.iter().any(|write| write.columns == *column))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_files_gives_the_same_plan(blocks in blocks(), swaps in vec((any::<Index>(), any::<Index>()), 0..20)) {
        let mut shuffled = blocks.clone();
        for (one, other) in swaps {
            let (one, other) = (one.index(shuffled.len()), other.index(shuffled.len()));
            shuffled.swap(one, other);
        }
        prop_assert_eq!(ordered(&blocks), ordered(&shuffled));
    }

    #[test]
    fn every_plan_has_every_block_once_and_respects_every_declared_edge(blocks in blocks()) {
        if let Ok(plan) = ordered(&blocks) {
            let place: HashMap<&str, usize> = plan.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
            prop_assert_eq!(place.len(), blocks.len());
            for first in &blocks {
                for second in blocks.iter().filter(|second| before(first, second)) {
                    prop_assert!(place[&*first.id] < place[&*second.id], "{} before {}: {:?}", first.id, second.id, plan);
                }
            }
        }
    }

    #[test]
    fn a_set_is_refused_exactly_if_its_edges_have_a_cycle_or_a_migration_waits_for_a_rule(blocks in blocks()) {
        // Floyd and Warshall's closure of the naive edges.
        let n = blocks.len();
        let mut reach = vec![vec![false; n]; n];
        for (i, first) in blocks.iter().enumerate() {
            for (j, second) in blocks.iter().enumerate() {
                reach[i][j] = before(first, second);
            }
        }
        for k in 0..n { for i in 0..n { for j in 0..n { reach[i][j] |= reach[i][k] && reach[k][j]; } } }
        let cycle = (0..n).any(|i| reach[i][i]);
        let rule = |id: &plinth_manifest::BlockId| blocks.iter().any(|block| block.id == *id && block.kind == plinth_manifest::Kind::Rule);
        let waits = blocks.iter().any(|block| block.kind == plinth_manifest::Kind::Migration && block.after.iter().any(rule));
        match ordered(&blocks) {
            Ok(_) => prop_assert!(!cycle && !waits),
            Err(problems) => {
                let cycles = problems.iter().filter(|problem| matches!(problem, PlanProblem::Cycle { .. })).count();
                prop_assert_eq!(cycles > 0, cycle);
                prop_assert_eq!(problems.len() > cycles, waits, "all kinds of problems are told at once");
            }
        }
    }

    #[test]
    fn a_cycle_is_told_by_a_shortest_path_of_real_edges(blocks in blocks()) {
        let Err(problems) = ordered(&blocks) else { return Ok(()) };
        let find = |id: &plinth_manifest::BlockId| blocks.iter().find(|block| block.id == *id).unwrap();
        for problem in &problems {
            let PlanProblem::Cycle { path } = problem else { continue };
            prop_assert_eq!(path.first(), path.last());
            for pair in path.windows(2) {
                prop_assert!(before(find(&pair[0]), find(&pair[1])), "{:?}", path);
            }
            // No chord: an edge from an earlier to a later member that skips some would make a shorter cycle.
            let members = &path[..path.len() - 1];
            for (i, first) in members.iter().enumerate() {
                for (j, second) in members.iter().enumerate() {
                    let next = (i + 1) % members.len() == j;
                    prop_assert!(next || !before(find(first), find(second)), "{} to {} is a short cut in {:?}", first, second, path);
                }
            }
        }
    }
}
