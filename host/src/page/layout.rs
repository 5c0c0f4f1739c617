//! Where the blocks of a graph go: a column for each depth, and lanes for edges that pass a column.

use std::collections::BTreeSet;

/// Something in a column: a block, or an edge that passes on its way to a later column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A block, by its place in the order.
    Block(usize),
    /// An edge, by its place among the edges.
    Lane(usize),
}

/// The columns from left to right, and for each edge the slots that it goes through.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) columns: Vec<Vec<Slot>>,
    /// The edges that are drawn: those that no longer way says already.
    pub(super) edges: Vec<(usize, usize)>,
}

/// Lays out `count` blocks with edges between their places. Every edge leads from a smaller place to a larger one.
pub(super) fn layout(count: usize, edges: &BTreeSet<(usize, usize)>) -> Layout {
    let edges = reduced(count, edges);
    let mut depth = vec![0_usize; count];
    // Edges are sorted by where they begin, and the order is one in which whatever is needed comes first.
    for (before, after) in &edges {
        let below = depth.get(*before).map_or(0, |depth| depth + 1);
        if let Some(depth) = depth.get_mut(*after) {
            *depth = below.max(*depth);
        }
    }
    let mut columns = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    for (place, depth) in depth.iter().enumerate() {
        if let Some(column) = columns.get_mut(*depth) {
            column.push(Slot::Block(place));
        }
    }
    for (number, (before, after)) in edges.iter().enumerate() {
        let between = depth.get(*before).map_or(0, |depth| depth + 1)..depth.get(*after).copied().unwrap_or(0);
        for column in columns.get_mut(between).into_iter().flatten() {
            column.push(Slot::Lane(number));
        }
    }
    let mut layout = Layout { columns, edges };
    for column in 1..layout.columns.len() {
        layout.untangle(column);
    }
    layout
}

impl Layout {
    /// Sorts a column by where its edges come from, so that few of them cross.
    fn untangle(&mut self, column: usize) {
        let Some((before, rest)) = self.columns.split_at_mut_checked(column) else { return };
        let (Some(before), Some(slots)) = (before.last(), rest.first_mut()) else { return };
        let height = |wanted: Slot| before.iter().position(|slot| *slot == wanted);
        let edges = &self.edges;
        let from = |number: usize| {
            let (source, _) = edges.get(number)?;
            height(Slot::Lane(number)).or_else(|| height(Slot::Block(*source)))
        };
        let middle = |slot: &Slot| {
            let into: Vec<usize> = match slot {
                Slot::Lane(number) => from(*number).into_iter().collect(),
                Slot::Block(place) => {
                    let numbers = edges.iter().enumerate().filter(|(_, (_, after))| after == place).map(|(number, _)| number);
                    numbers.filter_map(from).collect()
                }
            };
            if into.is_empty() { f64::MAX } else { into.iter().sum::<usize>() as f64 / into.len() as f64 }
        };
        slots.sort_by(|one, other| middle(one).total_cmp(&middle(other)));
    }
}

/// The edges without those that follow from others.
fn reduced(count: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut reached: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    let mut kept = Vec::new();
    // From the last block to the first, so that what is reached from later blocks is known.
    for place in (0..count).rev() {
        let mut from_here = BTreeSet::new();
        for (_, after) in edges.range((place, 0)..=(place, usize::MAX)).filter(|(_, after)| *after > place && *after < count) {
            // Nearest first: an edge to what is already reached says nothing new.
            if from_here.insert(*after) {
                kept.push((place, *after));
                from_here.extend(reached.get(*after).into_iter().flatten().copied());
            }
        }
        if let Some(reached) = reached.get_mut(place) {
            *reached = from_here;
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::{Slot, layout, reduced};

    #[test]
    fn what_follows_from_others_is_not_drawn() {
        assert_eq!(reduced(3, &[(0, 1), (1, 2), (0, 2)].into()), [(0, 1), (1, 2)]);
        assert_eq!(reduced(4, &[(0, 3), (0, 1), (1, 2), (2, 3)].into()), [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn blocks_stand_behind_what_they_need_and_edges_pass_in_lanes() {
        let found = layout(5, &[(0, 1), (1, 2), (2, 4), (0, 3), (3, 4)].into());
        assert_eq!(found.columns.len(), 4);
        assert_eq!(found.columns[0], [Slot::Block(0)]);
        assert_eq!(found.columns[3], [Slot::Block(4)]);
        let lane = found.edges.iter().position(|edge| *edge == (3, 4)).unwrap();
        assert!(found.columns[2].contains(&Slot::Lane(lane)), "{:?}", found.columns);
    }

    #[test]
    fn nothing_is_laid_out_as_nothing() {
        assert!(layout(0, &[].into()).columns.is_empty());
    }
}
