//! Functions that change the session, reach other sessions or leave the database. Refused by name where the text shows it;
//! where it does not, what they did to the session is compared around the block.

use super::{refusal, writes::folded};
use crate::contract::Refusal;
use squawk_syntax::{SyntaxKind, SyntaxNode};

/// Names, and beginnings of names that end in `*`.
const FORBIDDEN: [&str; 19] = [
    "set_config",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_advisory_*",
    "pg_try_advisory_*",
    "pg_notify",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_create_restore_point",
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_*",
    "pg_stat_file",
    "pg_logical_emit_message",
    "lo_*",
    "dblink*",
    "query_to_xml*",
    "pg_import_system_collations",
];

/// The first call of a forbidden function.
pub(super) fn refused_call(statement: &SyntaxNode) -> Result<(), Refusal> {
    let tokens = statement.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    let mut tokens = tokens.filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT)).peekable();
    while let Some(token) = tokens.next() {
        if tokens.peek().is_none_or(|next| next.kind() != SyntaxKind::L_PAREN) {
            continue;
        }
        let name = folded(token.text());
        let hit = FORBIDDEN.iter().any(|forbidden| match forbidden.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *forbidden,
        });
        if hit {
            return Err(refusal(
                "function",
                format!("{name} changes the session, reaches other sessions or leaves the database: a block must not call it"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use squawk_syntax::{SourceFile, ast::AstNode};

    fn refused(statement: &str) -> bool {
        refused_call(SourceFile::parse(statement).tree().syntax()).is_err()
    }

    #[test]
    fn functions_that_leave_the_transaction_are_refused_however_they_are_written() {
        for statement in [
            "select set_config('statement_timeout', '0', false)",
            "select pg_catalog.SET_CONFIG ('role', 'none', false)",
            "select \"set_config\" /* a */ ('role', 'none', false)",
            "select 1 where exists (select pg_advisory_unlock_all())",
            "select lo_import('/etc/passwd')",
            "select * from dblink('host=a', 'select 1') as t (a int)",
            "insert into t (a) values (pg_terminate_backend(1))",
        ] {
            assert!(refused(statement), "{statement}");
        }
    }

    #[test]
    fn other_functions_and_columns_are_not() {
        for statement in
            ["select lower('a'), now()", "select set_config from t", "select log(2)", "select pg_sleep(1), pg_get_viewdef(1)"]
        {
            assert!(!refused(statement), "{statement}");
        }
    }
}
