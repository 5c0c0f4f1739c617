//! What is wrong with a manifest, and where.

/// A mistake in `block.toml`, with its place.
///
/// It reads `line 4, column 1: unknown field …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ManifestError {
    line: usize,
    column: usize,
    message: String,
}

impl ManifestError {
    /// The line of the mistake, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the mistake, counted from 1 in characters.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The mistake without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn from_toml(text: &str, error: &toml::de::Error) -> ManifestError {
        let at = error.span().map_or(0, |span| span.start);
        ManifestError::at_offset(text, at, error.message().trim().to_owned())
    }

    /// A mistake in the value of a top-level field. TOML's spans are gone by then, so the field is looked up by its name.
    pub(crate) fn at_field(text: &str, field: &str, message: String) -> ManifestError {
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let rest = line.trim_start().strip_prefix(field).map(str::trim);
            // A table's name stands alone, in its brackets.
            if rest.is_some_and(|rest| rest.starts_with('=') || (field.starts_with('[') && rest.is_empty())) {
                return ManifestError::at_offset(text, at, message);
            }
            at += line.len();
        }
        ManifestError::at_offset(text, 0, message)
    }

    fn at_offset(text: &str, offset: usize, message: String) -> ManifestError {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        ManifestError { line, column, message }
    }
}
