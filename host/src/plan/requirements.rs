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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Entry, Known},
        plan::order,
    };
    use plinth_manifest::{Kind, Manifest};

    fn component(id: &str, rest: &str) -> crate::load::Component {
        crate::load::Component::planned(
            Manifest::parse(&format!("id = \"{id}\"\nkind = \"migration\"\ntitle = \"t\"\n{rest}")).unwrap(),
        )
    }

    fn problems(components: &Components, known: &Known, existing: &[Object]) -> Vec<String> {
        let order = order(&components.iter().map(|component| &component.manifest).collect::<Vec<_>>()).unwrap();
        let plan = Plan::new(components, &order, known);
        requirements(&plan, components, &Existing::of(existing)).iter().map(ToString::to_string).collect()
    }

    const REQUIRES: &str = "requires = [{ table = \"t\" }]";
    const PROVIDES: &str = "provides = [{ table = \"t\" }]";

    fn applied() -> Entry {
        Entry {
            kind: Kind::Migration,
            digest: String::new(),
            applied: true,
            started: false,
            deferrals: 0,
            retired: false,
            provides: Vec::new(),
        }
    }

    #[test]
    fn a_requirement_is_met_by_the_catalog_or_by_a_block_that_runs_before() {
        let needs = Components::planned(vec![component("a", REQUIRES)]);
        let table = Object::Table(plinth_manifest::TableName::new("public", "t"));
        assert!(problems(&needs, &Known::default(), &[table]).is_empty());
        let both = Components::planned(vec![component("a", REQUIRES), component("b", PROVIDES)]);
        assert!(problems(&both, &Known::default(), &[]).is_empty());
    }

    #[test]
    fn a_requirement_that_nobody_meets_is_told_with_who_should() {
        let needs = Components::planned(vec![component("a", REQUIRES)]);
        assert!(problems(&needs, &Known::default(), &[])[0].ends_with("no block provides it: is a component missing?"));
        let both = Components::planned(vec![component("a", REQUIRES), component("b", PROVIDES)]);
        let known = Known::of([("b", applied())]);
        assert!(problems(&both, &known, &[])[0].contains("b provided it and was applied"));
        // What is applied needs nothing any more.
        assert!(problems(&both, &Known::of([("a", applied()), ("b", applied())]), &[]).is_empty());
    }
}
