//! Statements that a block may send only if its manifest says so.

use super::{refusal, tokens::follows, writes::folded};
use crate::contract::Refusal;
use plinth_manifest::Need;
use squawk_syntax::{SyntaxKind, SyntaxToken, ast::Stmt};

/// What a statement needs beyond the ordinary.
pub(super) fn needs(statement: &Stmt, tokens: &[SyntaxToken]) -> Vec<Need> {
    let mut needs = Vec::new();
    match statement {
        Stmt::Do(_) => needs.push(Need::Do),
        Stmt::Call(_) => needs.push(Need::Call),
        Stmt::CreateFunction(_)
        | Stmt::AlterFunction(_)
        | Stmt::CreateProcedure(_)
        | Stmt::AlterProcedure(_)
        | Stmt::AlterRoutine(_)
        | Stmt::CreateAggregate(_) => needs.push(Need::CreateFunction),
        Stmt::CreateTrigger(_) | Stmt::AlterTrigger(_) | Stmt::CreateRule(_) | Stmt::AlterRule(_) => {
            needs.push(Need::CreateTrigger);
        }
        Stmt::CreateExtension(_) | Stmt::AlterExtension(_) => needs.push(Need::CreateExtension),
        Stmt::Grant(_) | Stmt::Revoke(_) | Stmt::AlterDefaultPrivileges(_) => needs.push(Need::Grant),
        Stmt::Lock(_) => needs.push(Need::LockTable),
        _ => {}
    }
    if follows(tokens, SyntaxKind::SECURITY_KW, SyntaxKind::DEFINER_KW) {
        needs.push(Need::SecurityDefiner);
    }
    if follows(tokens, SyntaxKind::OWNER_KW, SyntaxKind::TO_KW) {
        needs.push(Need::Grant);
    }
    needs
}

/// The need that the manifest does not name.
pub(super) fn refused_need(statement: &Stmt, tokens: &[SyntaxToken], allowed: &[Need]) -> Result<(), Refusal> {
    match needs(statement, tokens).into_iter().find(|need| !allowed.contains(need)) {
        None => Ok(()),
        Some(need) => Err(refusal(
            need.as_str(),
            format!("{}, which a block must declare: add \"{need}\" to allow in block.toml", told(need)),
        )),
    }
}

fn told(need: Need) -> &'static str {
    match need {
        Need::Do => "the statement is a DO block",
        Need::Call => "the statement calls a procedure",
        Need::CreateFunction => "the statement makes a function",
        Need::SecurityDefiner => "the function is to run with its owner's rights (SECURITY DEFINER)",
        Need::CreateTrigger => "the statement makes a trigger or a rule",
        Need::CreateExtension => "the statement makes an extension",
        Need::Grant => "the statement changes rights or owners",
        Need::LockTable => "the statement locks a table by itself",
    }
}

/// Code in other languages than SQL and PL/pgSQL leaves the database.
pub(super) fn refused_language(statement: &Stmt, tokens: &[SyntaxToken]) -> Result<(), Refusal> {
    if !matches!(statement, Stmt::Do(_) | Stmt::CreateFunction(_) | Stmt::CreateProcedure(_)) {
        return Ok(());
    }
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        if token.kind() != SyntaxKind::LANGUAGE_KW {
            continue;
        }
        let Some(named) = tokens.next() else { break };
        let language = folded(named.text().trim_matches('\''));
        if language != "sql" && language != "plpgsql" {
            return Err(refusal("language", format!("the code is written in {language}: a block's is in SQL or PL/pgSQL")));
        }
    }
    Ok(())
}

/// A temporary object outlives the block in the session unless it says otherwise; then later blocks and the host meet it.
pub(super) fn refused_temporary(statement: &Stmt, tokens: &[SyntaxToken]) -> Result<(), Refusal> {
    let creates = matches!(
        statement,
        Stmt::CreateTable(_)
            | Stmt::CreateTableAs(_)
            | Stmt::SelectInto(_)
            | Stmt::CreateView(_)
            | Stmt::CreateSequence(_)
            | Stmt::CreateFunction(_)
            | Stmt::CreateProcedure(_)
            | Stmt::CreateAggregate(_)
            | Stmt::CreateType(_)
            | Stmt::CreateDomain(_)
            | Stmt::CreateCollation(_)
            | Stmt::CreateStatistics(_)
    );
    let named = |name: &str| name == "pg_temp" || name.starts_with("pg_temp_");
    let temporary = |token: &SyntaxToken| {
        matches!(token.kind(), SyntaxKind::TEMP_KW | SyntaxKind::TEMPORARY_KW) || named(&folded(token.text()))
    };
    if creates && tokens.iter().any(temporary) && !follows(tokens, SyntaxKind::COMMIT_KW, SyntaxKind::DROP_KW) {
        return Err(refusal(
            "temporary",
            "a temporary object outlives the block: make it a table with ON COMMIT DROP, and name it pg_temp.… where you write to it"
                .into(),
        ));
    }
    Ok(())
}
