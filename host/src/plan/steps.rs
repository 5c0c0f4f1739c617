//! What each block needs, given what the ledger knows.

use super::{PlanProblem, removals, requirements};
use crate::{
    database::catalog::Existing,
    ledger::{Known, Provided},
    load::Components,
};
use plinth_manifest::{BlockId, Changed, Kind, When};
use std::collections::{BTreeSet, HashSet};

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
    /// Things that stop the boot.
    pub(crate) problems: Vec<PlanProblem>,
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
    /// A migration outside a transaction or a backfill that was started and did not finish.
    Resume,
    /// A backfill that is not done yet and runs behind the boot.
    Background,
    /// A migration or backfill that was applied.
    Skip,
    /// A rule.
    Reconcile,
}

impl Plan {
    /// Holds an order of components against the ledger.
    pub(crate) fn new(components: &Components, order: &[usize], known: &Known) -> Plan {
        let mut plan = Plan {
            steps: Vec::with_capacity(order.len()),
            retired: Vec::new(),
            renamed: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
        };
        for place in order {
            let Some(component) = components.get(*place) else { continue };
            let manifest = &component.manifest;
            let before = manifest.renamed_from.as_ref().filter(|old| !known.has(&manifest.id) && known.has(old));
            if let Some(old) = before {
                plan.renamed.push((old.clone(), manifest.id.clone()));
            }
            let entry = known.get(before.unwrap_or(&manifest.id));
            let applied = entry.is_some_and(|entry| entry.applied);
            let changed = manifest.kind.runs_once()
                && entry.is_some_and(|entry| entry.applied && entry.digest != component.digest.to_string());
            match manifest.changed {
                Changed::Warn if changed => plan.notes.push(format!(
                    "{}: the component changed after it was applied, and a migration runs once: put the change into a new block",
                    manifest.id
                )),
                Changed::Refuse if changed => plan.problems.push(PlanProblem::Changed { id: manifest.id.clone() }),
                Changed::Rerun if changed => {
                    plan.notes.push(format!(
                        "{}: the component changed after it was applied: it runs again, as its manifest says",
                        manifest.id
                    ));
                }
                _ => {}
            }
            let action = match manifest.kind {
                Kind::Rule => Action::Reconcile,
                _ if applied && !(changed && manifest.changed == Changed::Rerun) => Action::Skip,
                _ if manifest.when == When::Background => Action::Background,
                _ if !applied && entry.is_some_and(|entry| entry.started) => Action::Resume,
                _ => Action::Apply,
            };
            let deferrals = entry.map_or(0, |entry| entry.deferrals);
            plan.steps.push(Step { component: *place, action, deferrals, returns: entry.is_some_and(|entry| entry.retired) });
        }
        let mut here: HashSet<&str> = components.iter().map(|component| &*component.manifest.id).collect();
        here.extend(plan.renamed.iter().map(|(old, _)| &**old));
        let retired = known
            .entries()
            .filter(|(id, entry)| !entry.retired && !here.contains(id))
            .map(|(id, entry)| (id.to_owned(), entry.kind))
            .collect();
        plan.retired = retired;
        if known.ran_before && !plan.retired.is_empty() {
            let ids: Vec<&str> = plan.retired.iter().map(|(id, _)| id.as_str()).collect();
            plan.notes.push(format!("this set of components was booted before; the ledger knows more: {}", ids.join(", ")));
        }
        plan
    }

    /// Whether components were taken out, so that it matters what they provided. A set that was booted before is a release that is rolled back.
    pub(crate) fn removes(&self, known: &Known) -> bool {
        !known.ran_before && !self.retired.is_empty()
    }

    /// Everything that stands against the plan, all at once.
    pub(crate) fn all_problems(
        &self,
        components: &Components,
        known: (&Known, &Provided),
        existing: &Existing,
        accepted_removals: &BTreeSet<String>,
    ) -> Vec<PlanProblem> {
        let mut problems = self.problems.clone();
        problems.extend(removals(self, components, known, accepted_removals));
        problems.extend(requirements(self, components, existing));
        problems
    }

    /// Whether the boot records a block as retired.
    pub(crate) fn is_retired(&self, id: &str) -> bool {
        self.retired.iter().any(|(retired, _)| *retired == *id)
    }

    /// Blocks that run in this boot.
    pub(crate) fn pending(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Apply | Action::Resume | Action::Background)).count()
    }
}
