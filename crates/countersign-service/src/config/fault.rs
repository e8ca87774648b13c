use std::{fmt, ops::Range, path::Path};

/// Why a configuration cannot be used: the fault, the remedy, and the line of the file if the fault is in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    file: Option<Box<Path>>,
    line: Option<usize>,
    what: String,
    hint: String,
}

impl ConfigFault {
    pub(crate) fn new(what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { file: None, line: None, what: what.to_string(), hint: hint.to_string() }
    }

    /// Returns the line of the file, from 1.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// Returns the remedy.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.into());
        self
    }

    pub(super) fn at(mut self, text: &str, span: &Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        self.line = Some(before.matches('\n').count().saturating_add(1));
        self
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}, line {line}: {}", file.display(), self.what),
            (Some(file), None) => write!(f, "{}: {}", file.display(), self.what),
            (None, Some(line)) => write!(f, "line {line}: {}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for ConfigFault {}
