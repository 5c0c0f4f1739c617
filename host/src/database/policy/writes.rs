//! What a statement writes, as far as its text says it.

use plinth_manifest::TableName;
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{self, AstNode, ConflictDoUpdateSet, PathRef, SetColumn},
};

/// Every table and column that a statement names as written, WITH queries included. None is the whole table.
pub(super) fn writes(statement: &SyntaxNode) -> Vec<(TableName, Option<String>)> {
    let mut found = Vec::new();
    for node in statement.descendants() {
        if let Some(update) = ast::Update::cast(node.clone()) {
            let table = update.relation_name().and_then(|name| name.relation_name_ref()).and_then(|name| name.path_ref());
            push(&mut found, table.as_ref(), set_columns(update.set_clause()));
        } else if let Some(insert) = ast::Insert::cast(node.clone()) {
            let table = insert.relation_name_ref().and_then(|name| name.path_ref());
            let listed = insert.column_target_list().map(|list| list.column_targets().filter_map(target).collect::<Vec<_>>());
            push(&mut found, table.as_ref(), listed);
            let conflict =
                insert.on_conflict_clause().and_then(|clause| clause.syntax().descendants().find_map(ConflictDoUpdateSet::cast));
            if let Some(update) = conflict {
                push(&mut found, table.as_ref(), set_columns(update.set_clause()));
            }
        } else if let Some(delete) = ast::Delete::cast(node.clone()) {
            push(
                &mut found,
                delete.relation_name().and_then(|name| name.relation_name_ref()).and_then(|name| name.path_ref()).as_ref(),
                None,
            );
        } else if matches!(node.kind(), SyntaxKind::MERGE | SyntaxKind::TRUNCATE) {
            let relations = node.children().flat_map(|child| child.descendants().chain([child.clone()]).collect::<Vec<_>>());
            for name in relations.filter_map(ast::TableRelationName::cast) {
                push(&mut found, name.syntax().descendants().find_map(PathRef::cast).as_ref(), None);
            }
        }
    }
    found
}

/// The columns that a SET clause names; none if one of them cannot be told.
fn set_columns(clause: Option<ast::SetClause>) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    for column in clause?.set_column_list()?.set_columns() {
        match column {
            SetColumn::SetSingleColumn(single) => columns.push(target(single.column_target()?)?),
            SetColumn::SetMultipleColumns(several) => {
                columns.extend(several.column_target_list()?.column_targets().map(target).collect::<Option<Vec<_>>>()?);
            }
        }
    }
    Some(columns)
}

fn target(column: ast::ColumnTarget) -> Option<String> {
    column.name().map(|name| identifier(name.syntax()))
}

fn push(found: &mut Vec<(TableName, Option<String>)>, table: Option<&PathRef>, columns: Option<Vec<String>>) {
    // A write whose table cannot be told is held against a name that nobody declares.
    let table = table.map_or_else(|| TableName::new("?", "?"), table_name);
    match columns {
        Some(columns) if !columns.is_empty() => found.extend(columns.into_iter().map(|column| (table.clone(), Some(column)))),
        _ => found.push((table, None)),
    }
}

fn table_name(path: &PathRef) -> TableName {
    let table = path.segment().map_or_else(String::new, |segment| identifier(segment.syntax()));
    let schema = path.qualifier().map_or_else(|| "public".to_owned(), |schema| identifier(schema.syntax()));
    TableName::new(schema, table)
}

/// Whether a name without a schema means one of the server's own relations, or one with a schema says so.
pub(super) fn is_catalog(table: &TableName) -> bool {
    matches!(&*table.schema, "pg_catalog" | "information_schema" | "pg_toast")
        || (table.schema == "public" && table.table.starts_with("pg_"))
}

/// A name as PostgreSQL stores it.
pub(super) fn identifier(node: &SyntaxNode) -> String {
    folded(&node.text().to_string())
}

/// A name folded to lower case unless it is quoted.
pub(super) fn folded(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}
