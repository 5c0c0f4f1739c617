//! A statement as the server's lexer reads it: without blanks and comments.

use super::{refusal, writes::folded};
use crate::contract::Refusal;
use squawk_syntax::{SyntaxKind, SyntaxNode, SyntaxToken};

/// The tokens that mean something.
pub(super) fn significant(statement: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> {
    let tokens = statement.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    tokens.filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT))
}

/// Names that are spelled in a way which hides them, and the ledger's schema, wherever it stands: `DROP SCHEMA plinth` has it
/// as a name of its own, `ALTER TABLE … SET SCHEMA plinth` as a target.
pub(super) fn refused_name(statement: &SyntaxNode, ledger: &str) -> Result<(), Refusal> {
    for token in significant(statement) {
        let text = token.text();
        if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("u&\"")) {
            return Err(refusal("hidden-name", format!("{text} spells a name in escapes: write it as it is")));
        }
        // A literal keeps its quotes here, so it is never equal.
        if folded(text) == ledger {
            return Err(refusal(
                "ledger",
                format!("the statement contains the name {ledger}: that is the ledger's schema, and the host's alone"),
            ));
        }
    }
    Ok(())
}
