//! What a block may send: decided by parsing, before anything is sent, closed against what cannot be classified.

mod class;
mod functions;
#[cfg(test)]
mod laws;
mod needs;
mod tokens;
mod writes;

use crate::contract::Refusal;
use class::{Class, classify};
use plinth_manifest::{Columns, Manifest, Need, Object, TableName};
use squawk_syntax::{
    SourceFile, SyntaxToken,
    ast::{AstNode, Stmt},
};
use tokens::{significant, within};
use writes::{is_catalog, writes};

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
    allow: Vec<Need>,
    ledger: String,
}

/// What is known of a statement that may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Whether it can be part of a query: SELECT and its kin, or a statement with RETURNING.
    pub(crate) wraps: Wraps,
    /// Whether it changes definitions, so that what was prepared before may be stale.
    pub(crate) defines: bool,
    /// Whether all that it does by itself is to look.
    pub(crate) reads: bool,
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
        Policy {
            writes: manifest.writes.iter().map(|write| write.columns.clone()).collect(),
            provides: provides.collect(),
            allow: manifest.allow.clone(),
            ledger: ledger.to_owned(),
        }
    }

    /// That of a block which may write the table `t`, and declares every need there is or none.
    pub(crate) fn of_tests(declared: bool) -> Policy {
        let allow = [
            Need::Do,
            Need::Call,
            Need::CreateFunction,
            Need::SecurityDefiner,
            Need::CreateTrigger,
            Need::CreateExtension,
            Need::Grant,
            Need::LockTable,
        ];
        Policy {
            writes: "t.*".parse().into_iter().collect(),
            provides: Vec::new(),
            allow: if declared { allow.to_vec() } else { Vec::new() },
            ledger: "plinth".into(),
        }
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
        let tokens: Vec<SyntaxToken> = significant(only.syntax()).collect();
        for statement in only.syntax().descendants().filter_map(Stmt::cast) {
            let tokens = within(&tokens, statement.syntax());
            // Inside WITH, a function's body, CREATE SCHEMA, EXPLAIN: what may never be sent may not be there either.
            classify(&statement).allowed_within()?;
            needs::refused_need(&statement, tokens, &self.allow)?;
            needs::refused_language(&statement, tokens)?;
            needs::refused_temporary(&statement, tokens)?;
        }
        tokens::refused_name(&tokens, &self.ledger)?;
        functions::refused_call(&tokens)?;
        if phase == Phase::Work {
            for (table, column) in writes(only.syntax()) {
                if is_catalog(&table) {
                    return Err(refusal(
                        "catalog",
                        format!("{table} is PostgreSQL's own: a block changes no catalog or setting by writing to it"),
                    ));
                }
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
        Ok(Allowed {
            wraps: class.wraps(only.syntax()),
            defines: matches!(class, Class::Define | Class::Alone),
            reads: class == Class::Read,
        })
    }
}

impl Policy {
    /// Looks at rows that are to be put into columns of a table by COPY.
    ///
    /// # Errors
    ///
    /// As [`Policy::check`].
    pub(crate) fn check_copy(&self, table: &TableName, columns: &[String], phase: Phase) -> Result<Allowed, Refusal> {
        Class::Change.allowed_in(phase)?;
        if table.schema == self.ledger {
            return Err(refusal(
                "ledger",
                format!("the schema {} is the host's ledger: a block has no business there", self.ledger),
            ));
        }
        if is_catalog(table) {
            return Err(refusal("catalog", format!("{table} is PostgreSQL's own: a block changes no catalog by writing to it")));
        }
        let all = columns.is_empty().then_some(None);
        for column in columns.iter().map(|column| Some(column.as_str())).chain(all) {
            if !self.may_write(table, column) {
                let name = Columns { table: table.clone(), column: column.map(str::to_owned) };
                return Err(refusal(
                    "undeclared-write",
                    format!("the block writes {name}, which its manifest does not name: add \"{name}\" to writes in block.toml"),
                ));
            }
        }
        Ok(Allowed { wraps: Wraps::No, defines: false, reads: false })
    }
}

fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

fn refusal(rule: &str, message: String) -> Refusal {
    Refusal { rule: rule.to_owned(), message, extra: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(writes: &[&str]) -> Policy {
        Policy {
            writes: writes.iter().map(|text| text.parse().unwrap()).collect(),
            provides: Vec::new(),
            allow: Vec::new(),
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
        for statement in
            ["set role none", "reset all", "set statement_timeout = 0", "discard all", "listen a", "set local lock_timeout = 0"]
        {
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
    fn rows_are_copied_only_into_declared_columns() {
        let one = policy(&["t.a"]);
        let told = |table: &str, columns: &[&str], phase| {
            let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
            one.check_copy(&table.parse().unwrap(), &columns, phase).map_or_else(|refusal| refusal.rule, |_| "sent".to_owned())
        };
        assert_eq!(told("t", &["a"], Phase::Work), "sent");
        assert_eq!(told("t", &["a", "b"], Phase::Work), "undeclared-write");
        assert_eq!(told("t", &[], Phase::Work), "undeclared-write");
        assert_eq!(told("u", &["a"], Phase::Work), "undeclared-write");
        assert_eq!(told("plinth.blocks", &["id"], Phase::Work), "ledger");
        assert_eq!(told("pg_catalog.pg_class", &["relname"], Phase::Work), "catalog");
        assert_eq!(told("t", &["a"], Phase::Verify), "read-only");
        assert_eq!(told("t", &["a"], Phase::Outside), "needs-transaction");
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

    #[test]
    fn what_a_block_needs_beyond_the_ordinary_is_declared_by_name() {
        let none = policy(&[]);
        let one = |need: Need| Policy { allow: vec![need], ..policy(&[]) };
        for (statement, need) in [
            ("do $$ begin null; end $$", Need::Do),
            ("do language plpgsql $$ begin null; end $$", Need::Do),
            ("call p()", Need::Call),
            ("create function f() returns int language sql as 'select 1'", Need::CreateFunction),
            ("create or replace procedure p() language plpgsql as $$ begin end $$", Need::CreateFunction),
            ("create trigger a before insert on t for each row execute function f()", Need::CreateTrigger),
            ("create rule r as on insert to t do also notify a", Need::CreateTrigger),
            ("create extension if not exists citext", Need::CreateExtension),
            ("grant select on t to app", Need::Grant),
            ("revoke all on schema public from public", Need::Grant),
            ("alter default privileges in schema public grant select on tables to app", Need::Grant),
            ("alter table t owner to app", Need::Grant),
            ("lock table t in exclusive mode", Need::LockTable),
        ] {
            let error = none.check(statement, Phase::Work).unwrap_err();
            let asked = statement != "create rule r as on insert to t do also notify a";
            if asked {
                assert_eq!(error.rule, need.as_str(), "{statement}: {}", error.message);
                assert!(error.message.contains(&format!("add \"{need}\" to allow")), "{}", error.message);
                assert_eq!(rule(&one(need), statement, Phase::Work), "sent", "{statement}");
            } else {
                assert_ne!(rule(&one(need), statement, Phase::Work), "sent", "what runs later may not notify either");
            }
        }
        let definer = "create function f() returns int language sql security definer as 'select 1'";
        assert_eq!(rule(&one(Need::CreateFunction), definer, Phase::Work), "security-definer");
        let both = Policy { allow: vec![Need::CreateFunction, Need::SecurityDefiner], ..policy(&[]) };
        assert_eq!(rule(&both, definer, Phase::Work), "sent");
        assert_eq!(rule(&one(Need::Do), "do language plpython3u 'import os'", Phase::Work), "language");
        let c = "create function f() returns int language 'c' as 'libc', 'system'";
        assert_eq!(rule(&one(Need::CreateFunction), c, Phase::Work), "language");
        for statement in ["grant admin to current_user", "grant connect on database d to app", "grant set on parameter a to app"]
        {
            assert_eq!(rule(&one(Need::Grant), statement, Phase::Work), "forbidden", "{statement}");
        }
    }

    #[test]
    fn what_may_not_be_sent_may_not_be_inside_either() {
        let all = Policy { allow: vec![Need::CreateFunction, Need::CreateTrigger, Need::Grant], ..policy(&["t.*"]) };
        for statement in [
            "explain analyze insert into t values (1)",
            "explain analyse insert into t values (1)",
            "explain (analyse) delete from t",
            "explain (verbose, analyze true) delete from t",
            "prepare a as delete from t",
            "create schema s grant admin to app",
        ] {
            assert_ne!(rule(&all, statement, Phase::Work), "sent", "{statement}");
        }
        assert_eq!(rule(&all, "explain delete from t", Phase::Work), "sent");
        let body = "create function f() returns void begin atomic insert into other values (1); end";
        assert_ne!(rule(&all, body, Phase::Work), "sent", "a body that is written out is looked at");
        assert_eq!(
            rule(
                &policy(&[]),
                "create schema s create trigger a before insert on t for each row execute function f()",
                Phase::Work
            ),
            "create-trigger"
        );
    }

    #[test]
    fn a_temporary_object_goes_with_its_transaction() {
        let none = policy(&[]);
        for statement in [
            "create temp table t (a int)",
            "create temporary table t (a int) on commit preserve rows",
            "create table pg_temp.t (a int)",
            "create temp view v as select 1",
            "create temp sequence s",
            "create temp table t as select 1 as a",
            "select 1 as a into temp t",
        ] {
            assert_eq!(rule(&none, statement, Phase::Work), "temporary", "{statement}");
        }
        assert_eq!(rule(&none, "create temp table t (a int) on commit drop", Phase::Work), "sent");
        assert_eq!(rule(&none, "insert into pg_temp.t values (1)", Phase::Work), "sent");
    }

    #[test]
    fn names_cannot_be_hidden_and_catalogs_are_not_written() {
        let any = policy(&["pg_settings.*", "pg_catalog.pg_class.*"]);
        for statement in [
            "select U&\"set\\005fconfig\"('role', 'none', false)",
            "delete from u&\"\\0070linth\".blocks",
            "drop schema U&\"!0070linth\" uescape '!'",
        ] {
            assert_eq!(rule(&any, statement, Phase::Work), "hidden-name", "{statement}");
        }
        for statement in
            ["update pg_settings set setting = '0'", "update pg_catalog.pg_class set relname = 'a'", "delete from pg_proc"]
        {
            assert_eq!(rule(&any, statement, Phase::Work), "catalog", "{statement}");
        }
        for statement in [
            "drop schema plinth cascade",
            "drop schema \"plinth\"",
            "alter schema plinth rename to other",
            "alter table t set schema plinth",
            "grant usage on schema plinth to public",
            "create trigger a before insert on plinth.outcomes for each row execute function f()",
        ] {
            let all = Policy { allow: vec![Need::CreateTrigger, Need::Grant], ..policy(&[]) };
            assert_eq!(rule(&all, statement, Phase::Work), "ledger", "{statement}");
        }
        assert_eq!(rule(&any, "select 'plinth', $$plinth$$ as a", Phase::Work), "sent", "a text is no name");
    }
}
