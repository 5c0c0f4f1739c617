//! One statement for any number of objects: what the catalog says of each.
//!
//! Names go as literals and are joined, never parsed. `pg_get_expr` and its like open the table and so wait behind another
//! session's ACCESS EXCLUSIVE: they are called only for objects whose look may wait.

use super::{Existing, Found, Wanted};
use crate::database::{
    ResultSets,
    simple::{literal, name, text},
};
use plinth_manifest::{Object, TableName};
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio_postgres::SimpleQueryRow;

/// A class of objects, with the part of the statement that looks it up.
const CLASSES: [(&str, &str); 8] = [
    (
        "relation",
        "select w.place, pg_catalog.jsonb_build_object('kind', c.relkind)
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
         where w.class = 'relation' and c.relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I')",
    ),
    (
        "column",
        "select w.place, pg_catalog.jsonb_build_object('data_type', format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
                'default', case when d.oid is null then '' when w.may_wait then pg_get_expr(d.adbin, d.adrelid) end)
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
         join pg_attribute a on a.attrelid = c.oid and a.attname = w.part and a.attnum > 0 and not a.attisdropped
         left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where w.class = 'column'",
    ),
    (
        // As pg_get_indexdef prints a column: its collation and operator class where they are not the usual ones.
        "index",
        "select w.place, pg_catalog.jsonb_build_object('schema', tn.nspname, 'table', t.relname, 'unique', i.indisunique,
                'valid', i.indisvalid and i.indisready,
                'predicate', case when i.indpred is null then '' when w.may_wait then pg_get_expr(i.indpred, i.indrelid) end,
                'columns', (
                    select pg_catalog.jsonb_agg(coalesce(a.attname, case when w.may_wait then pg_get_indexdef(i.indexrelid, k.n, false) end)
                        || case when a.attcollation <> i.indcollation[k.n - 1]
                                then (select ' COLLATE ' || pg_catalog.quote_ident(l.collname) from pg_collation l where l.oid = i.indcollation[k.n - 1])
                                else '' end
                        || case when o.opcdefault then '' else ' ' || o.opcname end
                        || case i.indoption[k.n - 1] & 3 when 1 then ' DESC NULLS LAST' when 2 then ' NULLS FIRST' when 3 then ' DESC' else '' end
                        order by k.n)
                    from pg_catalog.generate_series(1, i.indnkeyatts) k (n) join pg_opclass o on o.oid = i.indclass[k.n - 1]
                    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[k.n - 1] and a.attnum <> 0))
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
         join pg_index i on i.indexrelid = c.oid join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
         where w.class = 'index'",
    ),
    (
        "constraint",
        "select w.place, pg_catalog.jsonb_build_object('definition', case when w.may_wait then pg_get_constraintdef(k.oid) end)
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
         join pg_constraint k on k.conrelid = c.oid and k.conname = w.part
         where w.class = 'constraint'",
    ),
    (
        "trigger",
        "select w.place, '{}'::jsonb
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name
         join pg_trigger g on g.tgrelid = c.oid and g.tgname = w.part and not g.tgisinternal
         where w.class = 'trigger'",
    ),
    (
        "function",
        "select w.place, '{}'::jsonb
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_proc p on p.pronamespace = n.oid and p.proname = w.name
         where w.class = 'function'",
    ),
    (
        "extension",
        "select w.place, '{}'::jsonb from wanted w join pg_extension e on e.extname = w.name where w.class = 'extension'",
    ),
    (
        "enum",
        "select w.place, '{}'::jsonb
         from wanted w join pg_namespace n on n.nspname = w.schema join pg_type t on t.typnamespace = n.oid and t.typname = w.name and t.typtype = 'e'
         where w.class = 'enum' and (w.part = '' or exists (select from pg_enum e where e.enumtypid = t.oid and e.enumlabel = w.part))",
    ),
];

/// Some of the classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes(u8);

impl Classes {
    /// Those of some objects.
    pub(crate) fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Classes {
        objects.into_iter().fold(Classes::default(), |classes, object| Classes(classes.0 | bit(address(object).0)))
    }

    fn contains(self, class: &str) -> bool {
        self.0 & bit(class) != 0
    }

    /// A statement for each: with its name, what looks up one object. It is executed with what [`Wanted::row`] says of the object.
    pub(crate) fn questions(self) -> impl Iterator<Item = (String, String)> {
        let of = |part: &str| {
            format!(
                "with wanted (place, class, schema, name, part, may_wait)
                    as (values ($1::integer, $2::text, $3::text, $4::text, $5::text, $6::boolean)) {part}"
            )
        };
        CLASSES.iter().filter(move |(class, _)| self.contains(class)).map(move |(class, part)| (question(class), of(part)))
    }
}

fn bit(class: &str) -> u8 {
    CLASSES.iter().position(|(known, _)| *known == class).map_or(0, |place| 1 << place)
}

/// The name that a class's question is prepared under.
fn question(class: &str) -> String {
    format!("plinth_look_{class}")
}

/// What the catalog says of one object, as its class has it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Facts {
    kind: Option<String>,
    data_type: Option<String>,
    nullable: Option<bool>,
    default: Option<String>,
    schema: String,
    table: String,
    unique: Option<bool>,
    valid: Option<bool>,
    predicate: Option<String>,
    columns: Option<Vec<Option<String>>>,
    definition: Option<String>,
}

/// The objects to look up, each once.
pub(crate) struct Look<'a>(Vec<Wanted<'a>>);

impl<'a> Look<'a> {
    pub(crate) fn new(wanted: impl IntoIterator<Item = Wanted<'a>>) -> Look<'a> {
        let mut once: BTreeMap<String, Wanted<'a>> = BTreeMap::new();
        for wanted in wanted {
            once.entry(wanted.object.to_string()).and_modify(|there| there.may_wait |= wanted.may_wait).or_insert(wanted);
        }
        Look(once.into_values().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same objects, with nothing that could wait for a lock.
    pub(crate) fn without_waiting(&self) -> Look<'a> {
        Look(self.0.iter().map(|wanted| Wanted { may_wait: false, ..*wanted }).collect())
    }

    /// The statement. Always exactly one, so that it can ride with others.
    pub(crate) fn query(&self) -> String {
        if self.is_empty() {
            return "select".to_owned();
        }
        let rows: Vec<String> = self.0.iter().enumerate().map(|(place, wanted)| wanted.row(place)).collect();
        let there = |class: &str| self.0.iter().any(|wanted| address(wanted.object).0 == class);
        let parts: Vec<&str> = CLASSES.iter().filter(|(class, _)| there(class)).map(|(_, part)| *part).collect();
        format!(
            "with wanted (place, class, schema, name, part, may_wait) as (values {}) {}",
            rows.join(", "),
            parts.join(" union all ")
        )
    }

    /// The same by the questions of [`Classes::questions`], if all that it takes are prepared: a statement for each object.
    pub(crate) fn statements(&self, prepared: Classes) -> Vec<String> {
        if self.is_empty() || self.0.iter().any(|wanted| !prepared.contains(address(wanted.object).0)) {
            return vec![self.query()];
        }
        let execute = |(place, wanted): (usize, &Wanted<'_>)| {
            format!("execute {} {}", name(&question(address(wanted.object).0)), wanted.row(place))
        };
        self.0.iter().enumerate().map(execute).collect()
    }

    /// Reads what the statement found.
    pub(crate) fn read(&self, sets: &ResultSets, place: usize) -> Existing {
        self.found(sets.set_from_end(place).iter())
    }

    /// Reads what the [statements](Look::statements) found.
    pub(crate) fn read_all(&self, sets: &ResultSets) -> Existing {
        self.found(sets.rows())
    }

    fn found<'r>(&self, rows: impl Iterator<Item = &'r SimpleQueryRow>) -> Existing {
        let found = rows.filter_map(|row| {
            let wanted = self.0.get(text(row, 0)?.parse::<usize>().ok()?)?;
            let facts = serde_json::from_str(text(row, 1)?).unwrap_or_default();
            Some((wanted.object.to_string(), found(wanted.object, facts)))
        });
        Existing(found.collect())
    }
}

impl Wanted<'_> {
    fn row(&self, place: usize) -> String {
        let (class, schema, name, part) = address(self.object);
        format!("({place}, '{class}', {}, {}, {}, {})", literal(schema), literal(name), literal(part), self.may_wait)
    }
}

/// Its class, schema, name, and the part of it that is meant.
fn address(object: &Object) -> (&'static str, &str, &str, &str) {
    match object {
        Object::Table(name) | Object::View(name) | Object::Sequence(name) => ("relation", &name.schema, &name.table, ""),
        Object::Column { name, .. } => ("column", &name.table.schema, &name.table.table, &name.column),
        Object::Index { name, .. } => ("index", &name.schema, &name.table, ""),
        Object::Constraint { name, table, .. } => ("constraint", &table.schema, &table.table, name),
        Object::Trigger { name, table } => ("trigger", &table.schema, &table.table, name),
        Object::Function(name) => ("function", &name.schema, &name.table, ""),
        Object::Extension(name) => ("extension", "", name, ""),
        Object::Enum { name, value } => ("enum", &name.schema, &name.table, value.as_deref().unwrap_or("")),
    }
}

fn found(object: &Object, facts: Facts) -> Found {
    let is = match (object, facts.kind.as_deref()) {
        (Object::Table(name) | Object::View(name) | Object::Sequence(name), Some(kind)) => relation(name, kind),
        (Object::Column { name, .. }, _) => {
            Object::Column { name: name.clone(), data_type: facts.data_type, nullable: facts.nullable, default: facts.default }
        }
        (Object::Index { name, .. }, _) => Object::Index {
            name: name.clone(),
            table: Some(TableName::new(facts.schema, facts.table)),
            // An expression that was not looked at makes all of them unknown.
            columns: facts.columns.and_then(|columns| columns.into_iter().collect()),
            unique: facts.unique,
            predicate: facts.predicate,
        },
        (Object::Constraint { name, table, .. }, _) => {
            Object::Constraint { name: name.clone(), table: table.clone(), definition: facts.definition }
        }
        _ => object.clone(),
    };
    Found { object: is, valid: facts.valid.unwrap_or(true) }
}

fn relation(name: &TableName, kind: &str) -> Object {
    match kind {
        "v" | "m" => Object::View(name.clone()),
        "S" => Object::Sequence(name.clone()),
        "i" | "I" => Object::Index { name: name.clone(), table: None, columns: None, unique: None, predicate: None },
        _ => Object::Table(name.clone()),
    }
}
