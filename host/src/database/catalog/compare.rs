//! What a manifest says of an object, held against what is said of it elsewhere. Pure.

use super::spelling;
use plinth_manifest::Object;
use std::fmt;

/// One thing in which an object is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// What the manifest says: `integer`, `not null`, `unique`, `on (a, b DESC)`.
    pub declared: String,
    /// What was found: `text`, `nullable`, `not unique`, `on (a, b)`.
    pub found: String,
}

impl Difference {
    pub(super) fn new(declared: impl Into<String>, found: impl Into<String>) -> Difference {
        Difference { declared: declared.into(), found: found.into() }
    }
}

/// `integer, not null, but it is text, nullable`.
pub(crate) struct Told<'a>(pub(crate) &'a [Difference]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |side: fn(&Difference) -> &str| self.0.iter().map(side).collect::<Vec<_>>().join(", ");
        write!(f, "{}, but it is {}", list(|difference| &difference.declared), list(|difference| &difference.found))
    }
}

/// In what two descriptions of one object differ. What either leaves out is not compared.
pub(crate) fn differences(declared: &Object, found: &Object) -> Vec<Difference> {
    let all = match (declared, found) {
        (
            Object::Column { data_type, nullable, default, .. },
            Object::Column { data_type: is_type, nullable: is_nullable, default: is_default, .. },
        ) => vec![
            differ(data_type, is_type, |text| spelling::data_type(text), String::clone),
            differ(nullable, is_nullable, |yes| *yes, |yes| if *yes { "nullable" } else { "not null" }.to_owned()),
            differ(default, is_default, |text| spelling::default(text), |text| with("default", text)),
        ],
        (
            Object::Index { table, columns, unique, predicate, .. },
            Object::Index { table: is_table, columns: are_columns, unique: is_unique, predicate: is_predicate, .. },
        ) => vec![
            differ(table, is_table, Clone::clone, |table| format!("on {table}")),
            differ(
                columns,
                are_columns,
                |columns| columns.iter().map(|column| spelling::index_column(column)).collect::<Vec<_>>(),
                |columns| format!("on ({})", columns.join(", ")),
            ),
            differ(unique, is_unique, |yes| *yes, |yes| if *yes { "unique" } else { "not unique" }.to_owned()),
            differ(predicate, is_predicate, |text| spelling::expression(text), |text| with("where", text)),
        ],
        (Object::Constraint { definition, .. }, Object::Constraint { definition: is_definition, .. }) => {
            vec![differ(definition, is_definition, |text| spelling::constraint(text), String::clone)]
        }
        _ if declared.kind() != found.kind() => {
            vec![Some(Difference::new(format!("as a {}", declared.kind()), format!("a {}", found.kind())))]
        }
        _ => Vec::new(),
    };
    all.into_iter().flatten().collect()
}

fn differ<T, K: PartialEq>(
    declared: &Option<T>,
    found: &Option<T>,
    key: impl Fn(&T) -> K,
    shown: impl Fn(&T) -> String,
) -> Option<Difference> {
    let (declared, found) = declared.as_ref().zip(found.as_ref())?;
    (key(declared) != key(found)).then(|| Difference::new(shown(declared), shown(found)))
}

/// A part that may be empty: `default 0`, `without default`.
fn with(word: &str, text: &str) -> String {
    if text.is_empty() { format!("without {word}") } else { format!("{word} {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_manifest::Manifest;

    fn object(text: &str) -> Object {
        let manifest = format!("id = \"a\"\nkind = \"migration\"\ntitle = \"t\"\nprovides = [{{ {text} }}]");
        Manifest::parse(&manifest).unwrap().provides.remove(0)
    }

    fn told(declared: &str, found: &str) -> String {
        let found = differences(&object(declared), &object(found));
        if found.is_empty() { String::new() } else { Told(&found).to_string() }
    }

    #[test]
    fn a_column_is_compared_in_what_the_manifest_says_of_it() {
        let found = "column = \"t.a\", type = \"text\", nullable = true, default = \"\"";
        assert_eq!(told("column = \"t.a\"", found), "");
        assert_eq!(told("column = \"t.a\", type = \"integer\"", found), "integer, but it is text");
        assert_eq!(
            told("column = \"t.a\", type = \"text\", nullable = false, default = \"''\"", found),
            "not null, default '', but it is nullable, without default"
        );
        assert_eq!(told("column = \"t.a\", type = \"text\", default = \"''\"", "column = \"t.a\""), "", "unknown is not other");
    }

    #[test]
    fn an_index_is_compared_by_table_columns_uniqueness_and_predicate() {
        let found = "index = \"i\", table = \"t\", columns = [\"a\", \"b DESC\"], unique = false, where = \"\"";
        assert_eq!(told("index = \"i\"", found), "");
        assert_eq!(told("index = \"i\", columns = [\"a\", \"b desc nulls first\"]", found), "");
        assert_eq!(told("index = \"i\", columns = [\"b DESC\", \"a\"]", found), "on (b DESC, a), but it is on (a, b DESC)");
        assert_eq!(told("index = \"i\", columns = [\"a\"]", found), "on (a), but it is on (a, b DESC)");
        assert_eq!(
            told("index = \"i\", table = \"u\", unique = true, where = \"a > 0\"", found),
            "on u, unique, where a > 0, but it is on t, not unique, without where"
        );
    }

    #[test]
    fn a_constraint_is_compared_by_definition_and_a_relation_by_what_it_is() {
        let check = "constraint = \"c\", table = \"t\", definition = \"CHECK ((a > 0))\"";
        assert_eq!(told("constraint = \"c\", table = \"t\", definition = \"check (a > 0)\"", check), "");
        assert_eq!(
            told("constraint = \"c\", table = \"t\", definition = \"CHECK (a > 1)\"", check),
            "CHECK (a > 1), but it is CHECK ((a > 0))"
        );
        assert_eq!(told("view = \"v\"", "table = \"v\""), "as a view, but it is a table");
        assert_eq!(told("view = \"v\"", "view = \"v\""), "");
    }
}
