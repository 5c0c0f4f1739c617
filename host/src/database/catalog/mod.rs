//! What exists and how it is defined: the objects that blocks require and provide, looked up in the catalog at once.

mod compare;
mod look;
mod spelling;

pub use compare::Difference;
pub(crate) use compare::{Told, differences};
pub(crate) use look::{Classes, Look};

use plinth_manifest::Object;
use std::collections::BTreeMap;

/// An object to look up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    object: &'a Object,
    may_wait: bool,
}

impl<'a> Wanted<'a> {
    /// Looked up without a lock on any table. Defaults, predicates and expressions stay unknown.
    pub(crate) fn at_once(object: &'a Object) -> Wanted<'a> {
        Wanted { object, may_wait: false }
    }

    /// Looked up as far as its manifest describes it. What the server can only print with the table open waits for locks.
    pub(crate) fn whole(object: &'a Object) -> Wanted<'a> {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let may_wait = match object {
            Object::Column { default, .. } => said(default),
            Object::Index { columns, predicate, .. } => {
                said(predicate) || columns.iter().flatten().any(|column| column.contains('('))
            }
            Object::Constraint { definition, .. } => said(definition),
            _ => false,
        };
        Wanted { object, may_wait }
    }
}

/// What the catalog says of one object.
#[derive(Clone, Debug)]
struct Found {
    /// The object as it is; what was not looked at is left out.
    object: Object,
    /// False for an index whose build did not end.
    valid: bool,
}

/// The objects of a list that exist, by their names as [`Object`] prints them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Existing(BTreeMap<String, Found>);

impl Existing {
    /// In what an object is not as declared; none if it does not exist.
    pub(crate) fn differences(&self, declared: &Object) -> Option<Vec<Difference>> {
        let found = self.0.get(&declared.to_string())?;
        let mut all = differences(declared, &found.object);
        if !found.valid {
            all.push(Difference::new("valid", "invalid"));
        }
        Some(all)
    }

    /// What is to be told after an object's name, ` integer, but it is text`; none if it is as declared.
    pub(crate) fn difference(&self, declared: &Object) -> Option<String> {
        match self.differences(declared) {
            Some(differences) if differences.is_empty() => None,
            Some(differences) => Some(format!(" {}", Told(&differences))),
            None => Some(", but it does not exist".to_owned()),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(objects: &[Object]) -> Existing {
        Existing(objects.iter().map(|object| (object.to_string(), Found { object: object.clone(), valid: true })).collect())
    }
}
