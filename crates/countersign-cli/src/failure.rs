use std::{fmt, process::ExitCode};

/// What the exit code tells a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done = 0,
    /// Wrong usage, or a fault on this machine.
    Local = 1,
    /// The server or the network.
    Server = 2,
    /// Refused (401, 403), or not verified.
    Refused = 3,
    /// Limited (429).
    Limited = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong in one line, and what to do about it in another.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    error: String,
    hint: String,
}

impl Failure {
    /// Wrong usage, or a fault on this machine.
    pub(crate) fn local(error: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::new(Exit::Local, error, hint)
    }

    pub(crate) fn new(exit: Exit, error: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { exit, error: one_line(&error.to_string()), hint: one_line(&hint.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nhint: {}", self.error, self.hint)
    }
}

/// A file name or a server's text may hold line breaks and terminal codes; ours are always one plain line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// An error with all its reasons, as one text.
pub(crate) fn with_reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut reason = error.source();
    while let Some(inner) = reason {
        let inner_text = inner.to_string();
        // Some messages already hold the one below them.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        reason = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_two_lines_whatever_is_in_it() {
        let failure = Failure::local("a\nb\u{1b}[31m", "c\r\nd");
        assert_eq!(failure.to_string(), "error: a\\nb\\u{1b}[31m\nhint: c\\r\\nd");
    }
}
