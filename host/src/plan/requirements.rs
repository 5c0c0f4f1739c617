//! Whether every block that runs will find what it requires.

use super::{Action, Plan, PlanProblem, Provider, Step};
use crate::{
    database::catalog::{Existing, Wanted, differences},
    load::{Component, Components},
};
use plinth_manifest::{Kind, Object};
use std::{cell::LazyCell, collections::HashMap};

/// The objects to look up in the catalog: what the blocks that run require. Rules are looked at in every boot, so for them
/// nothing is asked that could wait for somebody's lock.
pub(crate) fn wanted<'a>(plan: &Plan, components: &'a Components) -> Vec<Wanted<'a>> {
    let running = plan.steps.iter().filter(|step| step.action != Action::Skip).filter_map(|step| components.get(step.component));
    let wanted = running.map(|component| {
        let look = if component.manifest.kind == Kind::Rule { Wanted::at_once } else { Wanted::whole };
        component.manifest.requires.iter().map(look)
    });
    wanted.flatten().collect()
}

/// Every requirement that is met neither by the catalog nor by a block that runs before.
pub(crate) fn requirements(plan: &Plan, components: &Components, existing: &Existing) -> Vec<PlanProblem> {
    // Of a thousand blocks that are applied, a deploy has one that runs, and that one may require nothing.
    let providers = LazyCell::new(|| Providers::new(plan, components));
    let mut problems = Vec::new();
    for (place, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.action != Action::Skip) {
        let Some(component) = components.get(step.component) else { continue };
        problems.extend(component.manifest.requires.iter().filter_map(|object| {
            let block = component.manifest.id.clone();
            // What it finds is what the last of those before it makes, whatever is there now.
            if let Some((maker, made)) = providers.before(place, object) {
                let differences = differences(object, made);
                let provider = Some(Provider::Otherwise(maker.manifest.id.clone()));
                return (!differences.is_empty()).then(|| PlanProblem::Differs {
                    block,
                    object: object.clone(),
                    differences,
                    provider,
                });
            }
            let provider = || providers.elsewhere(place, object);
            match existing.differences(object) {
                Some(differences) if differences.is_empty() => None,
                Some(differences) => {
                    Some(PlanProblem::Differs { block, object: object.clone(), differences, provider: provider() })
                }
                None => Some(PlanProblem::Missing { block, object: object.clone(), provider: provider() }),
            }
        }));
    }
    problems
}

/// Who provides what, by the object's name, in order.
struct Providers<'a>(HashMap<String, Vec<(usize, &'a Step, &'a Component, &'a Object)>>);

impl<'a> Providers<'a> {
    fn new(plan: &'a Plan, components: &'a Components) -> Providers<'a> {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for (place, step) in plan.steps.iter().enumerate() {
            let Some(component) = components.get(step.component) else { continue };
            for object in &component.manifest.provides {
                all.entry(object.to_string()).or_default().push((place, step, component, object));
            }
        }
        Providers(all)
    }

    /// The last block that makes an object in this boot before a place, and the object as it makes it.
    fn before(&self, place: usize, object: &Object) -> Option<(&'a Component, &'a Object)> {
        let all = self.0.get(&object.to_string())?;
        let runs = all.iter().rfind(|(at, step, ..)| *at < place && step.action != Action::Skip);
        runs.map(|(_, _, component, object)| (*component, *object))
    }

    /// A block that makes it at another time: it did, or will.
    fn elsewhere(&self, place: usize, object: &Object) -> Option<Provider> {
        let all = self.0.get(&object.to_string())?;
        let (_, step, component, _) = all.iter().rfind(|(at, ..)| *at != place)?;
        let id = component.manifest.id.clone();
        Some(if step.action == Action::Skip { Provider::AppliedBefore(id) } else { Provider::Later(id) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Entry, Known},
        plan::order,
    };
    use plinth_manifest::{Kind, Manifest};

    fn component(id: &str, rest: &str) -> Component {
        Component::planned(Manifest::parse(&format!("id = \"{id}\"\nkind = \"migration\"\ntitle = \"t\"\n{rest}")).unwrap())
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
            recall: None,
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
    const INTEGER: &str = "requires = [{ column = \"t.a\", type = \"integer\", nullable = false }]";

    fn column(text: &str) -> Object {
        Manifest::parse(&format!("id = \"x\"\nkind = \"rule\"\ntitle = \"t\"\nrequires = [{{ column = \"t.a\", {text} }}]"))
            .unwrap()
            .requires
            .remove(0)
    }

    #[test]
    fn a_requirement_that_is_there_but_otherwise_is_told_in_what() {
        let needs = Components::planned(vec![component("a", INTEGER)]);
        assert!(problems(&needs, &Known::default(), &[column("type = \"int4\", nullable = false")]).is_empty());
        assert_eq!(
            problems(&needs, &Known::default(), &[column("type = \"text\", nullable = true")]),
            [
                "a: requires column t.a integer, not null, but it is text, nullable: change it in a migration that runs before, or what the manifest requires"
            ]
        );
    }

    #[test]
    fn what_a_block_before_says_that_it_makes_counts_and_not_what_is_there_now() {
        let provides = "provides = [{ column = \"t.a\", type = \"integer\" }]";
        let both = |provides: &str| Components::planned(vec![component("a", INTEGER), component("b", provides)]);
        assert!(problems(&both(provides), &Known::default(), &[column("type = \"text\"")]).is_empty());
        let other = "provides = [{ column = \"t.a\", type = \"bigint\" }]";
        let told = problems(&both(other), &Known::default(), &[column("type = \"integer\"")]);
        assert_eq!(told, ["a: requires column t.a integer, but it is bigint once b has run, which provides it so"]);
        let told = problems(&both(provides), &Known::of([("b", applied())]), &[column("type = \"text\"")]);
        assert!(told[0].ends_with("b provides it and was applied, so somebody has changed it since"), "{told:?}");
    }

    #[test]
    fn a_block_may_require_an_object_as_it_was_and_provide_it_as_it_will_be() {
        let alters = "provides = [{ column = \"t.a\", type = \"bigint\" }]";
        let alone = Components::planned(vec![component("a", &format!("{INTEGER}\n{alters}"))]);
        assert!(problems(&alone, &Known::default(), &[column("type = \"integer\"")]).is_empty());
        let told = problems(&alone, &Known::default(), &[column("type = \"text\"")]);
        assert!(told[0].contains("but it is text"), "{told:?}");
    }
}
