use serde_json::{Value, json};

use crate::{
    failure::{Exit, Failure},
    printable::one_line,
};

/// What one check of `doctor` found.
#[derive(Debug)]
pub(super) struct Diagnosis {
    name: &'static str,
    outcome: Outcome,
    detail: String,
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Well,
    /// Signed requests work, and something should be changed.
    Doubtful,
    Failed(Exit),
    Skipped,
}

impl Diagnosis {
    pub(super) fn well(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Well, detail: detail.into(), hint: None }
    }

    pub(super) fn doubtful(
        name: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into());
        Self { name, outcome: Outcome::Doubtful, detail: detail.into(), hint }
    }

    pub(super) fn failed(name: &'static str, failure: &Failure) -> Self {
        let (detail, hint) = (failure.error().to_owned(), Some(failure.hint().to_owned()));
        Self { name, outcome: Outcome::Failed(failure.exit), detail, hint }
    }

    pub(super) fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: detail.into(), hint: None }
    }

    /// The exit code that this finding asks for, if something is wrong.
    pub(super) const fn exit(&self) -> Option<Exit> {
        match self.outcome {
            Outcome::Failed(exit) => Some(exit),
            Outcome::Well | Outcome::Doubtful | Outcome::Skipped => None,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn detail(&self) -> String {
        one_line(&self.detail)
    }

    pub(super) fn hint(&self) -> Option<String> {
        self.hint.as_deref().map(one_line)
    }

    pub(super) const fn mark(&self) -> &'static str {
        match self.outcome {
            Outcome::Well => "ok  ",
            Outcome::Doubtful => "note",
            Outcome::Failed(_) => "FAIL",
            Outcome::Skipped => "-   ",
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let outcome = match self.outcome {
            Outcome::Well => "well",
            Outcome::Doubtful => "doubtful",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped => "skipped",
        };
        json!({ "check": self.name, "outcome": outcome, "detail": self.detail, "hint": self.hint })
    }
}
