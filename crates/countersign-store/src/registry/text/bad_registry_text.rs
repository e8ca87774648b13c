/// Why a text is not one of a registry, or cannot be applied to this one; and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
#[non_exhaustive]
pub struct BadRegistryText {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) fn refuse(self, what: impl Into<String>) -> BadRegistryText {
        let Self { line, column } = self;
        BadRegistryText { line, column, what: what.into() }
    }
}
