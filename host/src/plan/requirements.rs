//! Whether every block that runs will find what it requires.

use super::{Action, Plan, PlanProblem, Provider};
use crate::{database::catalog::Existing, load::Components};
use plinth_manifest::Object;
use std::collections::HashMap;

/// The objects to look up in the catalog: what the blocks that run require.
pub(crate) fn wanted<'a>(plan: &Plan, components: &'a Components) -> Vec<&'a Object> {
    let running = plan.steps.iter().filter(|step| step.action != Action::Skip).filter_map(|step| components.get(step.component));
    running.flat_map(|component| &component.manifest.requires).collect()
}

/// Every requirement that is met neither by the catalog nor by a block that runs before.
pub(crate) fn requirements(plan: &Plan, components: &Components, existing: &Existing) -> Vec<PlanProblem> {
    let mut providers: HashMap<String, usize> = HashMap::new();
    for (place, step) in plan.steps.iter().enumerate() {
        let provides = components.get(step.component).into_iter().flat_map(|component| &component.manifest.provides);
        for object in provides {
            providers.entry(object.to_string()).or_insert(place);
        }
    }
    let mut problems = Vec::new();
    for (place, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.action != Action::Skip) {
        let Some(component) = components.get(step.component) else { continue };
        for object in component.manifest.requires.iter().filter(|object| !existing.has(object)) {
            let provider = providers.get(&object.to_string()).copied();
            let provided = provider.and_then(|at| plan.steps.get(at).map(|step| (at, step)));
            let met = provided.is_some_and(|(at, step)| at < place && step.action != Action::Skip);
            if !met {
                let provider = provided.and_then(|(_, step)| {
                    let id = components.get(step.component)?.manifest.id.clone();
                    Some(if step.action == Action::Skip { Provider::AppliedBefore(id) } else { Provider::Later(id) })
                });
                problems.push(PlanProblem::Missing { block: component.manifest.id.clone(), object: object.clone(), provider });
            }
        }
    }
    problems
}
