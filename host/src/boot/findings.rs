//! squawk's findings on the SQL that really ran.

use crate::report::{Finding, RehearsedStatement};
use squawk_linter::{Linter, Rule, Version};
use squawk_syntax::SourceFile;
use std::collections::BTreeSet;

/// What the host does itself for every block, or forbids it: timeouts and transactions.
const HOSTS: [Rule; 4] =
    [Rule::RequireLockTimeout, Rule::RequireStatementTimeout, Rule::BanUncommittedTransaction, Rule::TransactionNesting];

/// Looks at a block's statements, all in one: a rule of squawk's may know that a table is new from a statement before.
pub(crate) fn findings(statements: &[RehearsedStatement], server: Option<&str>, in_transaction: bool) -> Vec<Finding> {
    let mut text = String::new();
    let mut ends: Vec<(usize, u64)> = Vec::new();
    for statement in statements {
        text.push_str(statement.sql.trim_end().trim_end_matches(';'));
        // The line break ends a comment at the end of the statement.
        text.push_str("\n;\n");
        ends.push((text.len(), statement.number));
    }
    let mut linter = Linter::with_rules(&[], &HOSTS);
    linter.settings.assume_in_transaction = in_transaction;
    if let Some(version) = server.and_then(|version| version.parse::<Version>().ok()) {
        linter.settings.pg_version = version;
    }
    let found = linter.lint(&SourceFile::parse(&text), &text);
    let number = |at: usize| ends.iter().find(|(end, _)| at < *end).or(ends.last()).map_or(0, |(_, number)| *number);
    // A table with ten such columns is one thing to say of its statement.
    let mut said = BTreeSet::new();
    found
        .into_iter()
        .map(|violation| Finding {
            statement: number(u32::from(violation.text_range.start()) as usize),
            rule: violation.code.to_string(),
            message: violation.message,
            help: violation.help,
        })
        .filter(|finding| said.insert((finding.statement, finding.rule.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(statements: &[&str]) -> Vec<(u64, String)> {
        let statement = |(place, sql): (usize, &&str)| RehearsedStatement {
            number: place as u64 + 1,
            sql: (*sql).to_owned(),
            duration_ms: 0.0,
            rows: None,
            estimate: None,
        };
        let statements: Vec<RehearsedStatement> = statements.iter().enumerate().map(statement).collect();
        findings(&statements, Some("17"), true).into_iter().map(|finding| (finding.statement, finding.rule)).collect()
    }

    #[test]
    fn a_rule_is_told_once_a_statement() {
        let columns = "alter table t add column a int, add column b int";
        let found = found(&[columns, columns]);
        let mut once = found.clone();
        once.dedup();
        assert_eq!(found, once);
        assert!(found.iter().any(|(statement, _)| *statement == 2), "{found:?}");
    }

    #[test]
    fn a_finding_names_its_statement() {
        assert_eq!(found(&["select 1 -- a comment", "alter table t drop column a"]), [(2, "ban-drop-column".to_owned())]);
        assert_eq!(found(&["update t set a = 1", "select 1"]), []);
    }

    #[test]
    fn an_index_on_a_table_that_the_block_made_locks_nobody_out() {
        assert_eq!(found(&["create index i on t (a)"]), [(1, "require-concurrent-index-creation".to_owned())]);
        let made = found(&["create table t (a bigint)", "create index i on t (a)"]);
        assert!(!made.iter().any(|(_, rule)| rule == "require-concurrent-index-creation"), "{made:?}");
    }
}
