//! What kind of statement it is, and when that kind may be sent.

use super::{Phase, Wraps, refusal, tokens::significant};
use crate::contract::Refusal;
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{AstNode, Stmt},
};

/// What kind of statement it is, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
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
    pub(super) fn allowed_in(self, phase: Phase) -> Result<(), Refusal> {
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

    /// What may never be sent by itself may not be part of a statement either.
    pub(super) fn allowed_within(self) -> Result<(), Refusal> {
        match self {
            Class::Transaction | Class::Session | Class::Forbidden | Class::Unknown => self.allowed_in(Phase::Work),
            Class::Read | Class::Change | Class::Define | Class::Alone => Ok(()),
        }
    }

    pub(super) fn wraps(self, statement: &SyntaxNode) -> Wraps {
        match (self, statement.kind()) {
            (Class::Read, SyntaxKind::SHOW | SyntaxKind::EXPLAIN) => Wraps::No,
            (Class::Read, _) => Wraps::Subquery,
            (Class::Change, SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE) => Wraps::With,
            _ => Wraps::No,
        }
    }
}

/// GRANT … ON what a schema holds, as opposed to membership in a role and rights on the server's own things.
fn on_objects(statement: &SyntaxNode) -> bool {
    let mut tokens = significant(statement).skip_while(|token| token.kind() != SyntaxKind::ON_KW).skip(1);
    tokens.next().is_some_and(|token| {
        !matches!(
            token.kind(),
            SyntaxKind::DATABASE_KW
                | SyntaxKind::TABLESPACE_KW
                | SyntaxKind::PARAMETER_KW
                | SyntaxKind::LANGUAGE_KW
                | SyntaxKind::FOREIGN_KW
                | SyntaxKind::LARGE_KW
        )
    })
}

fn has(statement: &SyntaxNode, kind: SyntaxKind) -> bool {
    statement.descendants_with_tokens().any(|element| element.kind() == kind)
}

pub(super) fn classify(statement: &Stmt) -> Class {
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
        Stmt::Explain(_)
            if ![SyntaxKind::ANALYZE_KW, SyntaxKind::ANALYSE_KW].iter().any(|kind| has(statement.syntax(), *kind)) =>
        {
            Class::Read
        }
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
        | Stmt::AlterRoutine(_)
        | Stmt::DropProcedure(_)
        | Stmt::DropRoutine(_)
        | Stmt::CreateAggregate(_)
        | Stmt::DropAggregate(_)
        | Stmt::CreateTrigger(_)
        | Stmt::AlterTrigger(_)
        | Stmt::DropTrigger(_)
        | Stmt::CreateRule(_)
        | Stmt::AlterRule(_)
        | Stmt::DropRule(_)
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
        | Stmt::AlterDefaultPrivileges(_) => Class::Define,
        // Its needs say that it must be declared.
        Stmt::Lock(_) => Class::Define,
        Stmt::Grant(_) | Stmt::Revoke(_) if on_objects(statement.syntax()) => Class::Define,
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
        | Stmt::Load(_)
        | Stmt::Checkpoint(_) => Class::Session,
        Stmt::Copy(_)
        | Stmt::Grant(_)
        | Stmt::Revoke(_)
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
        | Stmt::DropTablespace(_)
        | Stmt::CreateEventTrigger(_)
        | Stmt::AlterEventTrigger(_)
        | Stmt::DropEventTrigger(_)
        | Stmt::CreateForeignDataWrapper(_)
        | Stmt::AlterForeignDataWrapper(_)
        | Stmt::DropForeignDataWrapper(_)
        | Stmt::CreateServer(_)
        | Stmt::AlterServer(_)
        | Stmt::DropServer(_)
        | Stmt::CreateUserMapping(_)
        | Stmt::AlterUserMapping(_)
        | Stmt::DropUserMapping(_)
        | Stmt::CreateForeignTable(_)
        | Stmt::AlterForeignTable(_)
        | Stmt::DropForeignTable(_)
        | Stmt::ImportForeignSchema(_)
        | Stmt::CreatePublication(_)
        | Stmt::AlterPublication(_)
        | Stmt::DropPublication(_)
        | Stmt::CreateSubscription(_)
        | Stmt::AlterSubscription(_)
        | Stmt::DropSubscription(_)
        | Stmt::CreateLanguage(_)
        | Stmt::AlterLanguage(_)
        | Stmt::DropLanguage(_)
        | Stmt::AlterLargeObject(_)
        | Stmt::SecurityLabel(_) => Class::Forbidden,
        _ => Class::Unknown,
    }
}
