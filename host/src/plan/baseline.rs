//! Which migrations a database already has that never ran a block: those whose provided objects are all there, by definition.

use super::{Action, Plan};
use crate::{
    database::catalog::{Existing, Wanted},
    load::{Component, Components},
};
use plinth_manifest::{Manifest, Object};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// What `plinth baseline` found and recorded. Serialises to what it prints as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Baseline {
    /// Its number among the ledger's boots; none if there was nothing to record.
    pub boot: Option<i64>,
    /// Every migration, in order.
    pub blocks: Vec<BaselineBlock>,
}

/// What was found of one migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BaselineBlock {
    /// The block.
    pub id: String,
    /// What became of it.
    pub result: Adoption,
    /// How many objects it provides.
    pub objects: usize,
    /// Those that are not there as declared, each with what it is instead.
    pub differences: Vec<String>,
}

/// What became of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Adoption {
    /// The ledger has it as applied already.
    Known,
    /// All that it provides is there: it is recorded as applied.
    Adopted,
    /// It provides nothing that could be looked at, and it was said to be applied.
    Assumed,
    /// Something is missing or otherwise: it stays pending.
    Differs,
    /// It provides nothing that could be looked at: it stays pending.
    Unchecked,
}

impl Adoption {
    /// Whether this baseline records it as applied.
    pub(crate) fn is_new(self) -> bool {
        matches!(self, Adoption::Adopted | Adoption::Assumed)
    }
}

impl Baseline {
    /// Whether no migration stays pending.
    pub fn is_complete(&self) -> bool {
        !self.blocks.iter().any(|block| matches!(block.result, Adoption::Differs | Adoption::Unchecked))
    }
}

/// The objects to look up.
pub(crate) fn provided<'a>(plan: &Plan, components: &'a Components) -> Vec<Wanted<'a>> {
    migrations(plan, components).flat_map(|(_, component)| component.manifest.provides.iter().map(Wanted::whole)).collect()
}

/// What blocks provide, held against the catalog long after they ran.
///
/// What a later block provides again, a column of another type for instance, is there as the later one makes it: that meets
/// the earlier one too.
pub(crate) struct Standing<'a> {
    existing: &'a Existing,
    last: HashMap<String, &'a Object>,
}

impl<'a> Standing<'a> {
    /// The blocks in order, and what the catalog says of all that they provide.
    pub(crate) fn new(blocks: impl IntoIterator<Item = &'a Manifest>, existing: &'a Existing) -> Standing<'a> {
        let provides = blocks.into_iter().flat_map(|block| &block.provides);
        Standing { existing, last: provides.map(|object| (object.to_string(), object)).collect() }
    }

    /// What a block provides and what is not there as it or a later one says.
    pub(crate) fn differences(&self, block: &Manifest) -> Vec<String> {
        let differs = |object: &Object| {
            let difference = self.existing.difference(object)?;
            let later = self.last.get(&object.to_string()).is_some_and(|last| self.existing.difference(last).is_none());
            (!later).then(|| format!("{object}{difference}"))
        };
        block.provides.iter().filter_map(differs).collect()
    }
}

/// Holds every migration against the catalog. `assumed` names those that are believed, if nothing of them can be looked at.
pub(crate) fn baseline(
    plan: &Plan,
    components: &Components,
    existing: &Existing,
    assumed: &BTreeSet<String>,
) -> Vec<BaselineBlock> {
    let standing = Standing::new(migrations(plan, components).map(|(_, component)| &component.manifest), existing);
    let block = |(action, component): (Action, &Component)| {
        let manifest = &component.manifest;
        let differences: Vec<String> = match action {
            Action::Skip => Vec::new(),
            _ => standing.differences(manifest),
        };
        let result = match action {
            Action::Skip => Adoption::Known,
            _ if !differences.is_empty() => Adoption::Differs,
            _ if !manifest.provides.is_empty() => Adoption::Adopted,
            _ if assumed.contains(&*manifest.id) => Adoption::Assumed,
            _ => Adoption::Unchecked,
        };
        BaselineBlock { id: manifest.id.to_string(), result, objects: manifest.provides.len(), differences }
    };
    migrations(plan, components).map(block).collect()
}

fn migrations<'a>(plan: &Plan, components: &'a Components) -> impl Iterator<Item = (Action, &'a Component)> {
    let steps = plan.steps.iter().filter_map(|step| Some((step.action, components.get(step.component)?)));
    steps.filter(|(_, component)| component.manifest.kind.runs_once())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Entry, Known},
        plan::order,
    };
    use plinth_manifest::Manifest;

    fn component(id: &str, kind: &str, rest: &str) -> Component {
        Component::planned(Manifest::parse(&format!("id = \"{id}\"\nkind = \"{kind}\"\ntitle = \"t\"\n{rest}")).unwrap())
    }

    fn column(data_type: &str) -> String {
        format!("provides = [{{ column = \"t.a\", type = \"{data_type}\" }}]")
    }

    fn found(blocks: Vec<Component>, known: &Known, existing: &[&str]) -> Vec<(String, Adoption, Vec<String>)> {
        let components = Components::planned(blocks);
        let order = order(&components.iter().map(|component| &component.manifest).collect::<Vec<_>>()).unwrap();
        let plan = Plan::new(&components, &order, known);
        let existing: Vec<Object> =
            existing.iter().map(|text| component("x", "migration", text).manifest.provides.remove(0)).collect();
        let assumed = BTreeSet::from(["assumed".to_owned(), "b".to_owned()]);
        let blocks = baseline(&plan, &components, &Existing::of(&existing), &assumed);
        blocks.into_iter().map(|block| (block.id, block.result, block.differences)).collect()
    }

    #[test]
    fn a_migration_is_adopted_if_all_that_it_provides_is_there_and_rules_are_none_of_its_business() {
        let applied = Entry {
            kind: plinth_manifest::Kind::Migration,
            digest: String::new(),
            applied: true,
            started: false,
            deferrals: 0,
            retired: false,
            recall: None,
        };
        let blocks = vec![
            component("a", "migration", &column("int")),
            component("assumed", "migration", ""),
            component("b", "migration", "provides = [{ column = \"t.a\", nullable = false }, { table = \"u\" }]"),
            component("c", "migration", ""),
            component("d", "migration", "provides = [{ table = \"gone\" }]"),
            component("r", "rule", ""),
        ];
        let column = "provides = [{ column = \"t.a\", type = \"integer\", nullable = true }]";
        let found = found(blocks, &Known::of([("d", applied)]), &[column]);
        let told = vec!["column t.a not null, but it is nullable".to_owned(), "table u, but it does not exist".to_owned()];
        assert_eq!(
            found,
            [
                ("a".to_owned(), Adoption::Adopted, vec![]),
                ("assumed".to_owned(), Adoption::Assumed, vec![]),
                ("b".to_owned(), Adoption::Differs, told),
                ("c".to_owned(), Adoption::Unchecked, vec![]),
                ("d".to_owned(), Adoption::Known, vec![]),
            ]
        );
    }

    #[test]
    fn what_a_later_block_changed_is_there_as_the_later_one_makes_it() {
        let blocks = || vec![component("a", "migration", &column("integer")), component("b", "migration", &column("bigint"))];
        let results = |existing: &str| -> Vec<Adoption> {
            found(blocks(), &Known::default(), &[&column(existing)]).into_iter().map(|(_, result, _)| result).collect()
        };
        assert_eq!(results("bigint"), [Adoption::Adopted, Adoption::Adopted]);
        assert_eq!(results("integer"), [Adoption::Adopted, Adoption::Differs]);
        assert_eq!(results("text"), [Adoption::Differs, Adoption::Differs]);
    }
}
