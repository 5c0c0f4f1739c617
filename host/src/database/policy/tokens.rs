//! A statement as the server's lexer reads it: without blanks and comments.

use super::{refusal, writes::folded};
use crate::contract::Refusal;
use squawk_syntax::{SyntaxKind, SyntaxNode, SyntaxToken};

/// The tokens that mean something.
pub(super) fn significant(statement: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> {
    let tokens = statement.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    tokens.filter(|token| !matches!(token.kind(), SyntaxKind::WHITESPACE | SyntaxKind::COMMENT))
}

/// Those of a statement's tokens that are of a part of it.
pub(super) fn within<'a>(tokens: &'a [SyntaxToken], part: &SyntaxNode) -> &'a [SyntaxToken] {
    let place = part.text_range();
    let from = tokens.partition_point(|token| token.text_range().start() < place.start());
    let to = tokens.partition_point(|token| token.text_range().start() < place.end());
    tokens.get(from..to).unwrap_or_default()
}

/// Whether one kind of token stands right before another.
pub(super) fn follows(tokens: &[SyntaxToken], first: SyntaxKind, second: SyntaxKind) -> bool {
    let mut pairs = tokens.iter().zip(tokens.iter().skip(1));
    pairs.any(|(one, next)| one.kind() == first && next.kind() == second)
}

/// Names that are spelled in a way which hides them, and the ledger's schema, wherever it stands: `DROP SCHEMA plinth` has it
/// as a name of its own, `ALTER TABLE … SET SCHEMA plinth` as a target.
pub(super) fn refused_name(tokens: &[SyntaxToken], ledger: &str) -> Result<(), Refusal> {
    for text in tokens.iter().map(SyntaxToken::text) {
        if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("u&\"")) {
            return Err(refusal("hidden-name", format!("{text} spells a name in escapes: write it as it is")));
        }
        // A literal keeps its quotes here, so it is never equal.
        if text.len() >= ledger.len() && folded(text) == ledger {
            return Err(refusal(
                "ledger",
                format!("the statement contains the name {ledger}: that is the ledger's schema, and the host's alone"),
            ));
        }
    }
    Ok(())
}
