//! What a block did, held against what its manifest says. What the host refuses by itself does not come here.

use plinth_manifest::{Manifest, Object, TableName};
use squawk_syntax::{
    SourceFile,
    ast::{AstNode, NameRef, PathRef},
};
use std::collections::{BTreeMap, BTreeSet};

/// The tables and views of a database, with their columns.
#[derive(Debug, Default)]
pub(super) struct Relations(BTreeMap<TableName, BTreeSet<String>>);

impl Relations {
    /// The query for them: schema, table, column.
    pub(super) const QUERY: &str = "select n.nspname, c.relname, a.attname
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'plinth', 'pg_toast')";

    pub(super) fn read(rows: Vec<[String; 3]>) -> Relations {
        let mut relations = Relations::default();
        for [schema, table, column] in rows {
            relations.0.entry(TableName::new(schema, table)).or_default().insert(column);
        }
        relations
    }

    /// Whether a relation of that name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        name.parse().is_ok_and(|table: TableName| self.0.contains_key(&table))
    }
}

/// Columns and tables that the manifest names, in whatever way.
struct Named<'a>(&'a Manifest);

impl Named<'_> {
    fn table(&self, table: &TableName) -> bool {
        let object = |object: &Object| match object {
            Object::Table(name) | Object::View(name) => name == table,
            Object::Column { name, .. } => name.table == *table,
            Object::Index { table: of, .. } => of.as_ref() == Some(table),
            Object::Constraint { table: of, .. } | Object::Trigger { table: of, .. } => of == table,
            _ => false,
        };
        self.0.requires.iter().chain(&self.0.provides).any(object)
            || self.0.reads.iter().any(|columns| columns.table == *table)
            || self.0.writes.iter().any(|write| write.table == *table)
    }

    fn column(&self, table: &TableName, column: &str) -> bool {
        let object =
            |object: &Object| matches!(object, Object::Column { name, .. } if name.table == *table && name.column == column);
        let covers = |columns: &plinth_manifest::Columns| {
            columns.table == *table && columns.column.as_ref().is_none_or(|name| name == column)
        };
        self.0.requires.iter().chain(&self.0.provides).any(object)
            || self.0.reads.iter().any(covers)
            || self.0.writes.iter().any(|write| covers(&write.columns))
            // Whoever makes a table knows its columns.
            || self.0.provides.iter().any(|object| matches!(object, Object::Table(name) if name == table))
    }
}

/// Tables that the block locked, by `pg_locks`, and that its manifest does not name at all.
pub(super) fn undeclared_tables(manifest: &Manifest, locked: &[String], relations: &Relations) -> Vec<String> {
    let named = Named(manifest);
    let tables: BTreeSet<&String> = locked.iter().collect();
    let unknown = |name: &&String| {
        let table: Option<TableName> = name.parse().ok();
        table.is_some_and(|table| relations.0.contains_key(&table) && !named.table(&table))
    };
    tables.into_iter().filter(unknown).cloned().collect()
}

/// Columns that the text of the statements names and the manifest does not: `table.column`. An identifier counts as a column if
/// a table of the same statement has one of that name.
pub(super) fn undeclared_columns(manifest: &Manifest, statements: &[String], relations: &Relations) -> Vec<String> {
    let named = Named(manifest);
    let mut found = BTreeSet::new();
    for statement in statements {
        let tree = SourceFile::parse(statement).tree();
        let tables: BTreeSet<TableName> =
            tree.syntax().descendants().filter_map(PathRef::cast).filter_map(|path| table(&path)).collect();
        let words: BTreeSet<String> =
            tree.syntax().descendants().filter_map(NameRef::cast).map(|name| folded(&name.syntax().text().to_string())).collect();
        for table in tables {
            let Some(columns) = relations.0.get(&table) else { continue };
            let read = columns.iter().filter(|column| words.contains(*column) && !named.column(&table, column));
            found.extend(read.map(|column| format!("{table}.{column}")));
        }
    }
    found.into_iter().collect()
}

/// Columns of `writes` on tables whose rows the block did not touch.
pub(super) fn unused_writes<'a>(manifest: &Manifest, changed: impl Iterator<Item = &'a String>) -> Vec<String> {
    let changed: BTreeSet<&String> = changed.collect();
    let untouched =
        manifest.writes.iter().filter(|write| !changed.contains(&format!("{}.{}", write.table.schema, write.table.table)));
    untouched.map(|write| write.columns.to_string()).collect()
}

/// Objects that came to be and that `provides` does not name: nobody can require them, and `plinth verify` does not look.
pub(super) fn unprovided(manifest: &Manifest, created: &[crate::ObjectChange]) -> Vec<String> {
    let provided: BTreeSet<String> = manifest.provides.iter().map(ToString::to_string).collect();
    let tables: Vec<&str> =
        created.iter().filter(|object| object.created && object.kind == "table").map(|object| object.object.as_str()).collect();
    let looked_at = ["table", "column", "index", "view", "function", "sequence", "trigger", "constraint", "extension"];
    created
        .iter()
        .filter(|object| object.created && looked_at.contains(&object.kind.as_str()))
        // What comes with a new table is the table's.
        // Since PostgreSQL 18 NOT NULL is a constraint with a name; it is the column's.
        .filter(|object| object.kind != "constraint" || !object.object.contains("_not_null on "))
        .filter(|object| object.kind == "table" || !tables.iter().any(|table| belongs(&object.object, table)))
        .map(|object| format!("{} {}", object.kind, object.object))
        .filter(|object| !provided.contains(object))
        .collect()
}

fn belongs(object: &str, table: &str) -> bool {
    object.ends_with(&format!(" on {table}"))
        || object.starts_with(&format!("{table}_"))
        || object.starts_with(&format!("{table}."))
}

fn table(path: &PathRef) -> Option<TableName> {
    let table = folded(&path.segment()?.syntax().text().to_string());
    let schema = path.qualifier().map_or_else(|| "public".to_owned(), |schema| folded(&schema.syntax().text().to_string()));
    Some(TableName::new(schema, table))
}

/// A name as PostgreSQL stores it.
fn folded(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Manifest {
        Manifest::parse(&format!("id = \"a\"\nkind = \"rule\"\ntitle = \"t\"\n{more}")).unwrap()
    }

    fn relations() -> Relations {
        let rows = [("public", "t", "id"), ("public", "t", "a"), ("public", "t", "b"), ("s", "u", "id")];
        Relations::read(rows.map(|(schema, table, column)| [schema, table, column].map(str::to_owned)).to_vec())
    }

    #[test]
    fn columns_that_a_statement_looks_at_are_told() {
        let manifest = manifest("reads = [\"t.a\"]\nrequires = [{ column = \"t.id\" }]");
        let statements = ["select t.id from T where a = 1 and B > 2".to_owned(), "select 'b' from s.u".to_owned()];
        assert_eq!(undeclared_columns(&manifest, &statements, &relations()), ["t.b"]);
        let statements = ["select count(*) from t join s.u on u.id = t.id".to_owned()];
        assert_eq!(undeclared_columns(&manifest, &statements, &relations()), ["s.u.id"]);
    }

    #[test]
    fn tables_that_were_locked_are_told() {
        let manifest = manifest("writes = [\"t.a\"]");
        let locked = ["t", "t_pkey", "s.u"].map(str::to_owned);
        assert_eq!(undeclared_tables(&manifest, &locked, &relations()), ["s.u"]);
    }

    #[test]
    fn what_is_declared_and_not_written_is_told() {
        let manifest = manifest("writes = [\"t.a\", \"s.u.*\"]");
        assert_eq!(unused_writes(&manifest, ["public.t".to_owned()].iter()), ["s.u.*"]);
    }

    #[test]
    fn what_comes_with_a_new_table_is_the_tables() {
        let object = |kind: &str, object: &str| crate::ObjectChange { kind: kind.into(), object: object.into(), created: true };
        let made = [
            object("constraint", "t_a_not_null on t"),
            object("table", "n"),
            object("index", "n_pkey"),
            object("constraint", "c on n"),
            object("index", "i"),
        ];
        assert_eq!(unprovided(&manifest("provides = [{ table = \"n\" }]"), &made), ["index i"]);
    }
}
