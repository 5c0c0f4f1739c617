//! The order of blocks: migrations before rules; `after`, provides before requires, writes before reads; names break ties.

use super::PlanProblem;
use petgraph::{
    Direction,
    graph::{DiGraph, NodeIndex},
};
use plinth_manifest::{Columns, Kind, Manifest};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
};

/// Puts blocks in order; returns their places in `blocks`.
///
/// The same blocks in any sequence come out in the same order.
///
/// # Errors
///
/// Every block in a cycle, by a shortest path through it, and every migration that is to run after a rule.
pub(crate) fn order(blocks: &[&Manifest]) -> Result<Vec<usize>, Vec<PlanProblem>> {
    // By id, so that the sequence in which the blocks came leaves no trace, not even in which of two cycles is told.
    let mut by_id: Vec<(usize, &Manifest)> = blocks.iter().copied().enumerate().collect();
    by_id.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
    let (places, blocks): (Vec<usize>, Vec<&Manifest>) = by_id.into_iter().unzip();
    let blocks = blocks.as_slice();
    let mut problems = Vec::new();
    let graph = graph(blocks, &mut problems);
    let mut waiting: Vec<usize> =
        graph.node_indices().map(|node| graph.neighbors_directed(node, Direction::Incoming).count()).collect();
    let key = |node: NodeIndex| {
        graph.node_weight(node).and_then(|place| blocks.get(*place)).map(|block| (block.kind == Kind::Rule, &block.id))
    };
    let mut ready = BinaryHeap::new();
    for node in graph.node_indices().filter(|node| waiting.get(node.index()) == Some(&0)) {
        ready.push(Reverse((key(node), node)));
    }
    let mut ordered = Vec::with_capacity(blocks.len());
    while let Some(Reverse((_, node))) = ready.pop() {
        ordered.extend(graph.node_weight(node));
        for next in graph.neighbors(node) {
            if let Some(count) = waiting.get_mut(next.index()) {
                *count -= 1;
                if *count == 0 {
                    ready.push(Reverse((key(next), next)));
                }
            }
        }
    }
    problems.extend(cycles(&graph, blocks));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ordered.into_iter().filter_map(|place: usize| places.get(place).copied()).collect())
}

/// Why a block runs before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// The second says so under `after`.
    After,
    /// The first provides what the second requires.
    Provides,
    /// The second reads what the first writes.
    Reads,
}

impl Reason {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::After => "after",
            Reason::Provides => "provides",
            Reason::Reads => "reads",
        }
    }
}

/// An edge of the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Edge {
    /// The block that runs first.
    pub before: String,
    /// The block that runs after it.
    pub after: String,
    /// Why; more than one reason may hold.
    pub reasons: Vec<Reason>,
}

/// The edges between blocks that can be put in order, in the sequence of the blocks.
pub(super) fn edges(blocks: &[&Manifest]) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    for (before, after, reason) in reasons(blocks) {
        let (Some(before), Some(after)) = (blocks.get(before), blocks.get(after)) else { continue };
        // No edge: see `graph`.
        if before.kind == Kind::Rule && after.kind.runs_once() {
            continue;
        }
        match edges.last_mut().filter(|last| *last.before == *before.id && *last.after == *after.id) {
            Some(last) => last.reasons.push(reason),
            None => edges.push(Edge { before: before.id.to_string(), after: after.id.to_string(), reasons: vec![reason] }),
        }
    }
    edges
}

/// Who runs before whom and why, by places, each once.
fn reasons(blocks: &[&Manifest]) -> Vec<(usize, usize, Reason)> {
    let mut edges = Vec::new();
    let ids: HashMap<&str, usize> = blocks.iter().enumerate().map(|(place, block)| (&*block.id, place)).collect();
    let mut providers: HashMap<String, Vec<usize>> = HashMap::new();
    let mut writers: BTreeMap<String, Vec<(usize, &Columns)>> = BTreeMap::new();
    for (place, block) in blocks.iter().enumerate() {
        for object in &block.provides {
            providers.entry(object.to_string()).or_default().push(place);
        }
        for columns in block.writes.iter().map(|write| &write.columns) {
            writers.entry(columns.table.to_string()).or_default().push((place, columns));
        }
    }
    for (place, block) in blocks.iter().enumerate() {
        edges.extend(block.after.iter().filter_map(|id| ids.get(&**id)).map(|before| (*before, place, Reason::After)));
        let provided = block.requires.iter().filter_map(|object| providers.get(&object.to_string())).flatten();
        edges.extend(provided.map(|before| (*before, place, Reason::Provides)));
        // What a block writes itself it reads as it finds it: that gives no order between those who write the same.
        let reads = block.reads.iter().filter(|columns| !block.writes.iter().any(|own| own.overlaps(columns)));
        for columns in reads {
            let written = writers.get(&columns.table.to_string()).into_iter().flatten();
            edges.extend(
                written.filter(|(_, theirs)| theirs.overlaps(columns)).map(|(before, _)| (*before, place, Reason::Reads)),
            );
        }
    }
    edges.retain(|(before, after, _)| before != after);
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn graph(blocks: &[&Manifest], problems: &mut Vec<PlanProblem>) -> DiGraph<usize, ()> {
    let mut graph = DiGraph::with_capacity(blocks.len(), blocks.len());
    let nodes: Vec<NodeIndex> = (0..blocks.len()).map(|place| graph.add_node(place)).collect();
    let mut edges: Vec<(usize, usize)> = reasons(blocks).into_iter().map(|(before, after, _)| (before, after)).collect();
    edges.dedup();
    for (before, after) in edges {
        let (Some(first), Some(second)) = (blocks.get(before), blocks.get(after)) else { continue };
        match (first.kind, second.kind) {
            (Kind::Rule, Kind::Migration | Kind::Backfill) if second.after.contains(&first.id) => {
                problems.push(PlanProblem::MigrationAfterRule { migration: second.id.clone(), rule: first.id.clone() });
            }
            // What a migration reads from a rule it finds as the last boot left it: rules run after all migrations.
            (Kind::Rule, Kind::Migration | Kind::Backfill) => {}
            _ => {
                if let (Some(from), Some(to)) = (nodes.get(before), nodes.get(after)) {
                    graph.add_edge(*from, *to, ());
                }
            }
        }
    }
    graph
}

/// A shortest cycle through each group of blocks that wait for each other.
fn cycles(graph: &DiGraph<usize, ()>, blocks: &[&Manifest]) -> Vec<PlanProblem> {
    let groups = petgraph::algo::tarjan_scc(graph).into_iter().filter(|group| group.len() > 1);
    let mut problems: Vec<Vec<plinth_manifest::BlockId>> = groups
        .map(|group| {
            let paths = group.iter().filter_map(|start| shortest_cycle(graph, *start));
            let named = paths.map(|path| {
                path.iter()
                    .filter_map(|node| graph.node_weight(*node))
                    .filter_map(|place| blocks.get(*place))
                    .map(|block| block.id.clone())
                    .collect::<Vec<_>>()
            });
            named.min_by_key(|path| (path.len(), path.clone())).unwrap_or_default()
        })
        .collect();
    problems.sort();
    problems.into_iter().map(|path| PlanProblem::Cycle { path }).collect()
}

fn shortest_cycle(graph: &DiGraph<usize, ()>, start: NodeIndex) -> Option<Vec<NodeIndex>> {
    let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in graph.neighbors(node) {
            if next == start {
                let mut path = vec![start, node];
                let mut at = node;
                while at != start {
                    at = *came_from.get(&at)?;
                    path.push(at);
                }
                path.reverse();
                // A cycle of one came out as start, start.
                return Some(path);
            }
            if next != start && !came_from.contains_key(&next) {
                came_from.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(id: &str, kind: &str, rest: &str) -> Manifest {
        Manifest::parse(&format!("id = \"{id}\"\nkind = \"{kind}\"\ntitle = \"t\"\n{rest}")).unwrap()
    }

    fn ids(blocks: &[Manifest]) -> Vec<String> {
        let blocks: Vec<&Manifest> = blocks.iter().collect();
        order(&blocks).unwrap().into_iter().map(|place| blocks[place].id.to_string()).collect()
    }

    #[test]
    fn rules_run_after_migrations_and_names_break_ties() {
        let blocks = [block("b", "migration", ""), block("a", "rule", ""), block("c", "migration", ""), block("0", "rule", "")];
        assert_eq!(ids(&blocks), ["b", "c", "0", "a"]);
    }

    #[test]
    fn a_rule_that_reads_a_column_runs_after_those_that_write_it() {
        let blocks = [
            block("a_bridge", "rule", "reads = [\"t.cost\"]\nwrites = [\"t.eligible\"]"),
            block("z_cost", "rule", "reads = [\"t.cost\"]\nwrites = [\"t.cost\"]"),
            block("y_cost", "rule", "writes = [\"t.cost\"]"),
        ];
        assert_eq!(ids(&blocks), ["y_cost", "z_cost", "a_bridge"]);
    }

    #[test]
    fn a_provider_runs_before_those_that_require_what_it_makes() {
        let blocks = [
            block("a", "migration", "requires = [{ table = \"t\" }]"),
            block("b", "migration", "provides = [{ table = \"t\" }]\nafter = [\"c\"]"),
            block("c", "migration", "after = [\"is_not_here\"]"),
        ];
        assert_eq!(ids(&blocks), ["c", "b", "a"]);
    }

    #[test]
    fn a_cycle_is_named_by_its_shortest_path_and_all_are_told() {
        let blocks = [
            block("a", "migration", "after = [\"b\", \"c\"]"),
            block("b", "migration", "after = [\"a\"]"),
            block("c", "migration", "after = [\"b\"]"),
            block("r", "rule", "reads = [\"t.x\"]\nwrites = [\"t.y\"]"),
            block("s", "rule", "reads = [\"t.y\"]\nwrites = [\"t.x\"]"),
            block("m", "migration", "after = [\"r\"]"),
        ];
        let problems = order(&blocks.iter().collect::<Vec<_>>()).unwrap_err();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].contains("m: a migration cannot run after the rule r"), "{texts:?}");
        assert!(texts[1].starts_with("a before b before a:"), "{texts:?}");
        assert!(texts[2].starts_with("r before s before r:"), "{texts:?}");
    }
}
