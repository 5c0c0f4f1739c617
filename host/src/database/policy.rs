//! What a block may send: decided by parsing, before anything is sent, closed against what cannot be classified.

use crate::sandbox::contract::Refusal;
use plinth_manifest::{Columns, Manifest, Object, TableName};
use squawk_syntax::{
    SourceFile, SyntaxKind, SyntaxNode,
    ast::{self, AstNode, ConflictDoUpdateSet, PathRef, SetColumn, Stmt},
};

/// When a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The block's work, inside the host's transaction.
    Work,
    /// The work of a migration outside a transaction.
    Outside,
    /// Post-conditions, read-only.
    Verify,
}

/// What a block declared, and where it must not go.
#[derive(Debug)]
pub(crate) struct Policy {
    writes: Vec<Columns>,
    provides: Vec<TableName>,
    ledger: String,
}

/// What is known of a statement that may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Whether it can be part of a query: SELECT and its kin, or a statement with RETURNING.
    pub(crate) wraps: Wraps,
    /// Whether it changes definitions, so that what was prepared before may be stale.
    pub(crate) defines: bool,
}

/// How a statement is put into another one that reads its columns as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wraps {
    /// As a subquery.
    Subquery,
    /// As a WITH query: INSERT, UPDATE, DELETE with RETURNING.
    With,
    /// Not at all.
    No,
}

impl Policy {
    pub(crate) fn new(manifest: &Manifest, ledger: &str) -> Policy {
        let provides = manifest.provides.iter().filter_map(|object| match object {
            Object::Table(name) | Object::View(name) => Some(name.clone()),
            _ => None,
        });
        Policy { writes: manifest.writes.clone(), provides: provides.collect(), ledger: ledger.to_owned() }
    }

    /// Whether rows of the table may change at all, by any statement, trigger or function.
    pub(crate) fn may_change(&self, table: &TableName) -> bool {
        is_temporary(&table.schema) || self.provides.contains(table) || self.writes.iter().any(|columns| columns.table == *table)
    }

    fn may_write(&self, table: &TableName, column: Option<&str>) -> bool {
        is_temporary(&table.schema)
            || self.provides.contains(table)
            || self.writes.iter().any(|columns| {
                columns.table == *table && (columns.column.is_none() || columns.column.as_deref() == column && column.is_some())
            })
    }

    /// Looks at a statement.
    ///
    /// # Errors
    ///
    /// The rule that forbids it, and what to do instead.
    pub(crate) fn check(&self, statement: &str, phase: Phase) -> Result<Allowed, Refusal> {
        let parsed = SourceFile::parse(statement);
        if let Some(error) = parsed.errors().first() {
            let at = u32::from(error.range().start());
            return Err(refusal("syntax", format!("the statement cannot be read, at character {}: {}", at + 1, error.message())));
        }
        let file = parsed.tree();
        let mut statements = file.stmts().filter(|statement| !matches!(statement, Stmt::EmptyStmt(_)));
        let (Some(only), None) = (statements.next(), statements.next()) else {
            return Err(refusal("one-statement", "send one statement at a time, and not an empty one".into()));
        };
        let class = classify(&only);
        class.allowed_in(phase)?;
        self.spare_the_ledger(only.syntax())?;
        if phase == Phase::Work {
            for (table, column) in writes(only.syntax()) {
                if !self.may_write(&table, column.as_deref()) {
                    let name = Columns { table, column };
                    return Err(refusal(
                        "undeclared-write",
                        format!(
                            "the block writes {name}, which its manifest does not name: add \"{name}\" to writes in block.toml"
                        ),
                    ));
                }
            }
        }
        Ok(Allowed { wraps: class.wraps(only.syntax()), defines: matches!(class, Class::Define | Class::Alone) })
    }

    fn spare_the_ledger(&self, statement: &SyntaxNode) -> Result<(), Refusal> {
        let named = statement
            .descendants()
            .filter_map(PathRef::cast)
            .any(|path| path.qualifier().is_some_and(|q| identifier(q.syntax()) == self.ledger))
            || statement
                .descendants()
                .filter_map(ast::Path::cast)
                .any(|path| path.qualifier().is_some_and(|q| identifier(q.syntax()) == self.ledger));
        if named {
            return Err(refusal(
                "ledger",
                format!("the schema {} is the host's ledger: a block has no business there", self.ledger),
            ));
        }
        Ok(())
    }
}

fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

fn refusal(rule: &str, message: String) -> Refusal {
    Refusal { rule: rule.to_owned(), message, extra: Vec::new() }
}

/// What kind of statement it is, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Read,
    Change,
    Define,
    /// Cannot run inside a transaction.
    Alone,
    Transaction,
    Session,
    Forbidden,
    Unknown,
}

impl Class {
    fn allowed_in(self, phase: Phase) -> Result<(), Refusal> {
        match (self, phase) {
            (Class::Transaction, _) => Err(refusal(
                "transaction-control",
                "the transaction belongs to the host: a block can neither open, commit nor roll it back (use a savepoint for a sub-step)".into(),
            )),
            (Class::Session, _) => Err(refusal(
                "session",
                "the session belongs to the host: a block changes no setting or role and keeps nothing in it".into(),
            )),
            (Class::Forbidden, _) => Err(refusal("forbidden", "the statement reaches beyond the database's schema and data, a block must not".into())),
            (Class::Unknown, _) => {
                Err(refusal("unclassified", "the statement is of a kind that this host does not know, so it is not sent".into()))
            }
            (Class::Read, _) | (Class::Change | Class::Define, Phase::Work) | (Class::Alone, Phase::Outside) => Ok(()),
            (Class::Alone, Phase::Work) => Err(refusal(
                "needs-no-transaction",
                "the statement cannot run inside a transaction: say transaction = \"none\" in block.toml, in a migration of its own".into(),
            )),
            (Class::Change | Class::Define, Phase::Outside) => Err(refusal(
                "needs-transaction",
                "outside a transaction only what cannot run inside one: put the statement into a migration of its own".into(),
            )),
            (Class::Change | Class::Define | Class::Alone, Phase::Verify) => {
                Err(refusal("read-only", "post-conditions look and change nothing".into()))
            }
        }
    }

    fn wraps(self, statement: &SyntaxNode) -> Wraps {
        match (self, statement.kind()) {
            (Class::Read, SyntaxKind::SHOW | SyntaxKind::EXPLAIN) => Wraps::No,
            (Class::Read, _) => Wraps::Subquery,
            (Class::Change, SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE) => Wraps::With,
            _ => Wraps::No,
        }
    }
}

fn has(statement: &SyntaxNode, kind: SyntaxKind) -> bool {
    statement.descendants_with_tokens().any(|element| element.kind() == kind)
}

fn classify(statement: &Stmt) -> Class {
    let concurrently = || has(statement.syntax(), SyntaxKind::CONCURRENTLY_KW);
    match statement {
        // What changes inside WITH is a change.
        Stmt::Select(_) | Stmt::CompoundSelect(_) | Stmt::ParenSelect(_) | Stmt::Values(_) | Stmt::Table(_) => {
            let changes = statement.syntax().descendants().any(|node| {
                matches!(node.kind(), SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE | SyntaxKind::MERGE)
            });
            if changes { Class::Change } else { Class::Read }
        }
        Stmt::Show(_) => Class::Read,
        // EXPLAIN ANALYZE runs what it explains.
        Stmt::Explain(_) if !has(statement.syntax(), SyntaxKind::ANALYZE_KW) => Class::Read,
        Stmt::Insert(_)
        | Stmt::Update(_)
        | Stmt::Delete(_)
        | Stmt::Merge(_)
        | Stmt::Truncate(_)
        | Stmt::Do(_)
        | Stmt::Call(_) => Class::Change,
        Stmt::CreateIndex(_) | Stmt::DropIndex(_) | Stmt::Reindex(_) | Stmt::AlterTable(_) if concurrently() => Class::Alone,
        Stmt::Vacuum(_) => Class::Alone,
        Stmt::AlterType(_) if has(statement.syntax(), SyntaxKind::ADD_VALUE) => Class::Alone,
        Stmt::CreateTable(_)
        | Stmt::CreateTableAs(_)
        | Stmt::SelectInto(_)
        | Stmt::AlterTable(_)
        | Stmt::DropTable(_)
        | Stmt::CreateIndex(_)
        | Stmt::AlterIndex(_)
        | Stmt::DropIndex(_)
        | Stmt::Reindex(_)
        | Stmt::CreateView(_)
        | Stmt::AlterView(_)
        | Stmt::DropView(_)
        | Stmt::CreateMaterializedView(_)
        | Stmt::AlterMaterializedView(_)
        | Stmt::DropMaterializedView(_)
        | Stmt::Refresh(_)
        | Stmt::CreateSequence(_)
        | Stmt::AlterSequence(_)
        | Stmt::DropSequence(_)
        | Stmt::CreateType(_)
        | Stmt::AlterType(_)
        | Stmt::DropType(_)
        | Stmt::CreateDomain(_)
        | Stmt::AlterDomain(_)
        | Stmt::DropDomain(_)
        | Stmt::CreateFunction(_)
        | Stmt::AlterFunction(_)
        | Stmt::DropFunction(_)
        | Stmt::CreateProcedure(_)
        | Stmt::AlterProcedure(_)
        | Stmt::DropProcedure(_)
        | Stmt::DropRoutine(_)
        | Stmt::CreateAggregate(_)
        | Stmt::DropAggregate(_)
        | Stmt::CreateTrigger(_)
        | Stmt::AlterTrigger(_)
        | Stmt::DropTrigger(_)
        | Stmt::CreatePolicy(_)
        | Stmt::AlterPolicy(_)
        | Stmt::DropPolicy(_)
        | Stmt::CreateStatistics(_)
        | Stmt::AlterStatistics(_)
        | Stmt::DropStatistics(_)
        | Stmt::CreateSchema(_)
        | Stmt::AlterSchema(_)
        | Stmt::DropSchema(_)
        | Stmt::CreateExtension(_)
        | Stmt::AlterExtension(_)
        | Stmt::DropExtension(_)
        | Stmt::CreateCollation(_)
        | Stmt::DropCollation(_)
        | Stmt::CommentOn(_)
        | Stmt::Analyze(_)
        | Stmt::SetConstraints(_)
        | Stmt::Grant(_)
        | Stmt::Revoke(_) => Class::Define,
        Stmt::Begin(_)
        | Stmt::Commit(_)
        | Stmt::Rollback(_)
        | Stmt::SavepointCreate(_)
        | Stmt::ReleaseSavepoint(_)
        | Stmt::PrepareTransaction(_)
        | Stmt::SetTransaction(_) => Class::Transaction,
        Stmt::Set(_)
        | Stmt::Reset(_)
        | Stmt::SetRole(_)
        | Stmt::ResetRole(_)
        | Stmt::SetSessionAuth(_)
        | Stmt::ResetSessionAuth(_)
        | Stmt::Discard(_)
        | Stmt::Prepare(_)
        | Stmt::Execute(_)
        | Stmt::Deallocate(_)
        | Stmt::Declare(_)
        | Stmt::Fetch(_)
        | Stmt::Move(_)
        | Stmt::Close(_)
        | Stmt::Listen(_)
        | Stmt::Unlisten(_)
        | Stmt::Notify(_)
        | Stmt::Lock(_)
        | Stmt::Load(_)
        | Stmt::Checkpoint(_) => Class::Session,
        Stmt::Copy(_)
        | Stmt::AlterSystem(_)
        | Stmt::CreateDatabase(_)
        | Stmt::AlterDatabase(_)
        | Stmt::DropDatabase(_)
        | Stmt::CreateRole(_)
        | Stmt::AlterRole(_)
        | Stmt::DropRole(_)
        | Stmt::CreateUser(_)
        | Stmt::AlterUser(_)
        | Stmt::DropUser(_)
        | Stmt::CreateGroup(_)
        | Stmt::AlterGroup(_)
        | Stmt::DropGroup(_)
        | Stmt::DropOwned(_)
        | Stmt::Reassign(_)
        | Stmt::CreateTablespace(_)
        | Stmt::AlterTablespace(_)
        | Stmt::DropTablespace(_) => Class::Forbidden,
        _ => Class::Unknown,
    }
}

/// Every table and column that a statement names as written, WITH queries included. None is the whole table.
fn writes(statement: &SyntaxNode) -> Vec<(TableName, Option<String>)> {
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

/// A name as PostgreSQL stores it: folded to lower case unless it is quoted.
fn identifier(node: &SyntaxNode) -> String {
    let text = node.text().to_string();
    let text = text.trim();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(writes: &[&str]) -> Policy {
        Policy {
            writes: writes.iter().map(|text| text.parse().unwrap()).collect(),
            provides: Vec::new(),
            ledger: "plinth".into(),
        }
    }

    fn rule(policy: &Policy, statement: &str, phase: Phase) -> String {
        policy.check(statement, phase).map_or_else(|refusal| refusal.rule, |_| "sent".to_owned())
    }

    #[test]
    fn statements_that_take_the_transaction_or_the_session_are_not_sent() {
        let none = policy(&[]);
        for statement in [
            "commit",
            "COMMIT AND CHAIN",
            "rollback",
            "/* a */ commit -- b",
            "begin",
            "savepoint a",
            "prepare transaction 'a'",
            "release a",
        ] {
            assert_eq!(rule(&none, statement, Phase::Work), "transaction-control", "{statement}");
        }
        for statement in [
            "set role none",
            "reset all",
            "set statement_timeout = 0",
            "discard all",
            "listen a",
            "lock table t",
            "set local lock_timeout = 0",
        ] {
            assert_eq!(rule(&none, statement, Phase::Work), "session", "{statement}");
        }
        for statement in [
            "copy t from stdin",
            "copy (select 1) to program 'id'",
            "alter system set fsync = off",
            "create role a",
            "drop database d",
        ] {
            assert_eq!(rule(&none, statement, Phase::Work), "forbidden", "{statement}");
        }
        assert_eq!(rule(&none, "select 1; commit", Phase::Work), "one-statement");
        assert_eq!(rule(&none, "", Phase::Work), "one-statement");
        assert_eq!(rule(&none, "selec 1", Phase::Work), "syntax");
    }

    #[test]
    fn a_write_needs_its_table_and_column_declared() {
        let one = policy(&["t.a"]);
        assert_eq!(rule(&one, "update t set a = 1", Phase::Work), "sent");
        assert_eq!(rule(&one, "update public.T set A = 1 where b = 2", Phase::Work), "sent");
        assert_eq!(rule(&one, "insert into t (a) values (1) on conflict (a) do update set a = 2", Phase::Work), "sent");
        for statement in [
            "update t set a = 1, b = 2",
            "update t set (a, b) = (1, 2)",
            "update other.t set a = 1",
            "update \"T\" set a = 1",
            "delete from t",
            "truncate t",
            "insert into t values (1)",
            "insert into t (a, b) values (1, 2)",
            "insert into t (a) values (1) on conflict (a) do update set b = 2",
            "with w as (update u set a = 1 returning *) select * from w",
            "merge into t using u on t.a = u.a when matched then delete",
        ] {
            assert_eq!(rule(&one, statement, Phase::Work), "undeclared-write", "{statement}");
        }
        let all = policy(&["t.*"]);
        for statement in [
            "delete from t",
            "truncate t",
            "insert into t values (1)",
            "merge into t using u on t.a = u.a when matched then delete",
        ] {
            assert_eq!(rule(&all, statement, Phase::Work), "sent", "{statement}");
        }
        let error = one.check("update t set b = 1", Phase::Work).unwrap_err();
        assert!(error.message.contains("add \"t.b\" to writes"), "{}", error.message);
    }

    #[test]
    fn the_ledger_is_out_of_reach() {
        let any = policy(&["plinth.blocks.*"]);
        for statement in [
            "delete from plinth.blocks",
            "select * from plinth.boots",
            "drop table \"plinth\".blocks",
            "create table plinth.t ()",
        ] {
            assert_eq!(rule(&any, statement, Phase::Work), "ledger", "{statement}");
        }
    }

    #[test]
    fn each_phase_has_its_statements() {
        let none = policy(&[]);
        let concurrently = "create index concurrently if not exists i on t (a, b desc)";
        assert_eq!(rule(&none, concurrently, Phase::Outside), "sent");
        assert_eq!(rule(&none, concurrently, Phase::Work), "needs-no-transaction");
        assert_eq!(rule(&none, "create index i on t (a)", Phase::Outside), "needs-transaction");
        assert_eq!(rule(&none, "create table t (a int)", Phase::Work), "sent");
        assert_eq!(rule(&none, "create table t (a int)", Phase::Verify), "read-only");
        assert_eq!(rule(&none, "select a from t union select 1 order by 1", Phase::Verify), "sent");
        assert_eq!(rule(&none, "alter type mood add value 'happy'", Phase::Outside), "sent");
        assert_eq!(rule(&none, "drop index concurrently i", Phase::Outside), "sent");
    }
}
