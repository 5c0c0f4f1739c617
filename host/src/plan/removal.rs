//! What the removal of a component would break.

use super::{Plan, PlanProblem};
use crate::{
    ledger::{Known, Provided},
    load::Components,
};
use plinth_manifest::BlockId;
use std::collections::BTreeSet;

/// Every removed block that is still needed, or whose work never happened.
///
/// A set that was booted completely before is no removal but a release that was rolled back: it is let through. So are the
/// ids that somebody accepted.
pub(crate) fn removals(
    plan: &Plan,
    components: &Components,
    (known, by_removed): (&Known, &Provided),
    accepted: &BTreeSet<String>,
) -> Vec<PlanProblem> {
    if !plan.removes(known) {
        return Vec::new();
    }
    let provided: BTreeSet<String> =
        components.iter().flat_map(|component| &component.manifest.provides).map(ToString::to_string).collect();
    let mut problems = Vec::new();
    for (id, kind) in plan.retired.iter().filter(|(id, _)| !accepted.contains(id)) {
        let Some(entry) = known.get(id) else { continue };
        // One that only ever failed left nothing behind, and taking it out is how a failed release is mended.
        if kind.runs_once() && !entry.applied && (entry.started || entry.deferrals > 0) {
            problems.push(PlanProblem::RemovedUnapplied { id: id.clone() });
        }
        for object in by_removed.by(id).iter().filter(|object| !provided.contains(&object.to_string())) {
            let needed_by: Vec<BlockId> = components
                .iter()
                .filter(|component| component.manifest.requires.iter().any(|required| required.same(object)))
                .map(|component| component.manifest.id.clone())
                .collect();
            if !needed_by.is_empty() {
                problems.push(PlanProblem::RemovedProvider { id: id.clone(), object: object.clone(), needed_by });
            }
        }
    }
    problems
}
