//! Functions that change the session, reach other sessions or leave the database. Refused by name where the text shows it;
//! where it does not, what they did to the session is compared around the block.

use super::{refusal, writes::folded};
use crate::contract::Refusal;
use squawk_syntax::{SyntaxKind, SyntaxToken};

/// Names, and beginnings of names that end in `*`, with what they do.
const FORBIDDEN: [(&[&str], &str); 5] = [
    (
        &["set_config", "pg_advisory_*", "pg_try_advisory_*", "pg_export_snapshot", "pg_stat_reset*", "pg_stat_force_next_flush"],
        "changes the session or what the host measures",
    ),
    (
        &["pg_terminate_backend", "pg_cancel_backend", "pg_notify", "pg_log_backend_memory_contexts", "pg_log_standby_snapshot"],
        "reaches other sessions",
    ),
    (
        &[
            "pg_reload_conf",
            "pg_rotate_logfile*",
            "pg_switch_wal",
            "pg_create_*",
            "pg_drop_replication_slot",
            "pg_copy_*_replication_slot",
            "pg_logical_*",
            "pg_replication_*",
            "pg_sync_replication_slots",
            "pg_promote",
            "pg_wal_replay_*",
            "pg_backup_*",
            "pg_start_backup",
            "pg_stop_backup",
            "pg_import_system_collations",
            "binary_upgrade_*",
        ],
        "steers the server",
    ),
    (
        &[
            "pg_read_file",
            "pg_read_binary_file",
            "pg_ls_*",
            "pg_stat_file",
            "pg_file_*",
            "pg_logdir_ls",
            "lo_*",
            "loread",
            "lowrite",
            "dblink*",
            "postgres_fdw_*",
        ],
        "leaves the database",
    ),
    (
        &[
            "query_to_xml*",
            "cursor_to_xml*",
            "table_to_xml*",
            "schema_to_xml*",
            "database_to_xml*",
            "ts_stat",
            "crosstab*",
            "connectby",
        ],
        "runs SQL that nobody has looked at",
    ),
];

/// The first call of a forbidden function.
pub(super) fn refused_call(tokens: &[SyntaxToken]) -> Result<(), Refusal> {
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        if next.kind() != SyntaxKind::L_PAREN {
            continue;
        }
        let name = folded(token.text());
        let is = |forbidden: &&str| match forbidden.split_once('*') {
            Some((beginning, end)) => name.starts_with(beginning) && name.ends_with(end),
            None => name == **forbidden,
        };
        if let Some((_, does)) = FORBIDDEN.iter().find(|(names, _)| names.iter().any(is)) {
            return Err(refusal("function", format!("{name} {does}: a block must not call it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::significant, *};
    use squawk_syntax::{SourceFile, ast::AstNode};

    fn refused(statement: &str) -> bool {
        let tokens: Vec<SyntaxToken> = significant(SourceFile::parse(statement).tree().syntax()).collect();
        refused_call(&tokens).is_err()
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
