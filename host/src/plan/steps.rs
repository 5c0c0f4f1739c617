//! What each block needs, given what the ledger knows.

use crate::{ledger::Known, load::Components};
use plinth_manifest::{BlockId, Kind};

/// What a boot would do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Every block, in order.
    pub(crate) steps: Vec<Step>,
    /// Ids of blocks whose component is gone, with their kinds.
    pub(crate) retired: Vec<(String, Kind)>,
    /// Blocks whose history has to move: the old id and the new one.
    pub(crate) renamed: Vec<(BlockId, BlockId)>,
    /// Things that somebody should know.
    pub(crate) notes: Vec<String>,
}

/// One block of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Its place among the components.
    pub(crate) component: usize,
    pub(crate) action: Action,
    /// How often it put its work off in a row.
    pub(crate) deferrals: u32,
    /// Whether the ledger has it as retired, so that it must be told that it is back.
    pub(crate) returns: bool,
}

/// What happens to a block in a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A migration that was not applied yet.
    Apply,
    /// A migration outside a transaction that was started and did not finish.
    Resume,
    /// A migration that was applied.
    Skip,
    /// A rule.
    Reconcile,
}

impl Plan {
    /// Holds an order of components against the ledger.
    pub(crate) fn new(components: &Components, order: &[usize], known: &Known) -> Plan {
        let mut plan =
            Plan { steps: Vec::with_capacity(order.len()), retired: Vec::new(), renamed: Vec::new(), notes: Vec::new() };
        for place in order {
            let Some(component) = components.get(*place) else { continue };
            let manifest = &component.manifest;
            let before = manifest.renamed_from.as_ref().filter(|old| !known.has(&manifest.id) && known.has(old));
            if let Some(old) = before {
                plan.renamed.push((old.clone(), manifest.id.clone()));
            }
            let entry = known.get(before.unwrap_or(&manifest.id));
            let applied = entry.is_some_and(|entry| entry.applied);
            if let Some(entry) = entry.filter(|entry| entry.applied && manifest.kind == Kind::Migration) {
                let digest = component.digest.to_string();
                if entry.digest != digest {
                    plan.notes.push(format!(
                        "{}: the component changed after it was applied, and a migration runs once: put the change into a new block (applied {}, now {})",
                        manifest.id,
                        entry.digest.get(..12).unwrap_or(&entry.digest),
                        digest.get(..12).unwrap_or(&digest),
                    ));
                }
            }
            let action = match manifest.kind {
                Kind::Rule => Action::Reconcile,
                Kind::Migration if applied => Action::Skip,
                Kind::Migration if entry.is_some_and(|entry| entry.started) => Action::Resume,
                Kind::Migration => Action::Apply,
            };
            let deferrals = entry.map_or(0, |entry| entry.deferrals);
            plan.steps.push(Step { component: *place, action, deferrals, returns: entry.is_some_and(|entry| entry.retired) });
        }
        let here = |id: &str| components.iter().any(|component| component.manifest.id == *id);
        let moved = |id: &str| plan.renamed.iter().any(|(old, _)| *old == *id);
        plan.retired = known
            .entries()
            .filter(|(id, entry)| !entry.retired && !here(id) && !moved(id))
            .map(|(id, entry)| (id.to_owned(), entry.kind))
            .collect();
        plan
    }

    /// Blocks that run in this boot.
    pub(crate) fn pending(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Apply | Action::Resume)).count()
    }
}
