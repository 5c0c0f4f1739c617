//! What exists: the objects that blocks require, looked up in the catalog at once.

use super::{
    Connection,
    simple::{literal, text},
};
use plinth_manifest::Object;
use std::collections::BTreeSet;

/// The objects of a list that exist, by their names as [`Object`] prints them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Existing(BTreeSet<String>);

impl Existing {
    pub(crate) fn has(&self, object: &Object) -> bool {
        self.0.contains(&object.to_string())
    }

    #[cfg(test)]
    pub(crate) fn of(objects: &[Object]) -> Existing {
        Existing(objects.iter().map(ToString::to_string).collect())
    }

    /// Looks the objects up, in one round trip, or none if there are none to look up.
    pub(crate) async fn look_up(connection: &Connection, objects: &[&Object]) -> Result<Existing, tokio_postgres::Error> {
        if objects.is_empty() {
            return Ok(Existing::default());
        }
        let wanted: BTreeSet<String> =
            objects.iter().map(|object| format!("({}, {})", literal(&object.to_string()), condition(object))).collect();
        let wanted: Vec<String> = wanted.into_iter().collect();
        let query = format!("select name from (values {}) as wanted (name, there) where there", wanted.join(", "));
        let found = connection.send(&query).await?;
        Ok(Existing(found.last().iter().filter_map(|row| text(row, 0)).map(str::to_owned).collect()))
    }
}

/// Whether an object exists, as SQL. Names go as literals, never as identifiers: nothing is looked up by parsing them.
fn condition(object: &Object) -> String {
    let relation = |name: &plinth_manifest::TableName, kinds: &str| {
        format!(
            "exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = {} and c.relname = {} and c.relkind in ({kinds}))",
            literal(&name.schema),
            literal(&name.table)
        )
    };
    let on_table = |catalog: &str, table_column: &str, name_column: &str, name: &str, table: &plinth_manifest::TableName| {
        format!(
            "exists (select from {catalog} o join pg_class c on c.oid = o.{table_column} join pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = {} and c.relname = {} and o.{name_column} = {})",
            literal(&table.schema),
            literal(&table.table),
            literal(name)
        )
    };
    match object {
        Object::Table(name) => relation(name, "'r', 'p', 'f'"),
        Object::View(name) => relation(name, "'v', 'm'"),
        Object::Sequence(name) => relation(name, "'S'"),
        Object::Index { name, .. } => format!(
            "exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = {} and c.relname = {} and i.indisvalid)",
            literal(&name.schema),
            literal(&name.table)
        ),
        Object::Column { name, .. } => {
            format!(
                "exists (select from pg_attribute o join pg_class c on c.oid = o.attrelid join pg_namespace n on n.oid = c.relnamespace
                         where n.nspname = {} and c.relname = {} and o.attname = {} and o.attnum > 0 and not o.attisdropped)",
                literal(&name.table.schema),
                literal(&name.table.table),
                literal(&name.column)
            )
        }
        Object::Constraint { name, table, .. } => on_table("pg_constraint", "conrelid", "conname", name, table),
        Object::Trigger { name, table } => on_table("pg_trigger", "tgrelid", "tgname", name, table),
        Object::Function(name) => format!(
            "exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = {} and p.proname = {})",
            literal(&name.schema),
            literal(&name.table)
        ),
        Object::Extension(name) => format!("exists (select from pg_extension where extname = {})", literal(name)),
        Object::Enum { name, value } => {
            let label = value.as_ref().map_or_else(String::new, |value| {
                format!(" and exists (select from pg_enum e where e.enumtypid = t.oid and e.enumlabel = {})", literal(value))
            });
            format!(
                "exists (select from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname = {} and t.typname = {}{label})",
                literal(&name.schema),
                literal(&name.table)
            )
        }
    }
}
