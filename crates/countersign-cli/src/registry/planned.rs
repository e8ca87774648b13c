use countersign_store::{Action, Plan, RegistryError, RegistryText, Step, Unlisted};
use serde_json::{Value, json};

use crate::{
    failure::{Exit, Failure},
    input::read_file,
    output::note,
    registry_args::RegistryArgs,
};

/// What becomes of the changes that are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// They are shown.
    Compared,
    /// They are made next.
    Applied,
}

/// Reads a text.
pub(super) fn read(file: &str) -> Result<RegistryText, Failure> {
    let content = read_file(file, "name a file that `countersign registry export` wrote")?;
    let text = String::from_utf8(content).map_err(|_| {
        Failure::local(
            format!("{file} is not UTF-8 text"),
            "name a file that `countersign registry export` wrote",
        )
    })?;
    text.parse().map_err(|bad| {
        Failure::local(format!("{file}: {bad}"), "correct the file there; nothing was changed")
    })
}

/// Returns the failure of a text that cannot be applied, or another failure of the registry.
pub(super) fn refused<T>(
    file: &str,
    registry: &RegistryArgs,
    error: RegistryError,
) -> Result<T, Failure> {
    match error {
        RegistryError::Text(bad) => Err(Failure::local(
            format!("{file}: {bad}"),
            "correct the file there; nothing was changed",
        )),
        error => Err(registry.failure(&error)),
    }
}

/// Prints the changes of a plan, and says whether there are any.
pub(super) fn print(
    registry: &RegistryArgs,
    plan: &Plan,
    outcome: Outcome,
) -> Result<Exit, Failure> {
    registry.print(|| object(plan), || text(plan))?;
    match (outcome, plan.is_empty()) {
        (_, true) => {
            note("the registry is as the text says");
            Ok(Exit::Done)
        }
        (Outcome::Compared, false) => Ok(Exit::Pending),
        (Outcome::Applied, false) => {
            if !plan.unlisted().is_empty() {
                note(
                    "what is unlisted stays as it is; --prune revokes these keys and removes these applications",
                );
            }
            Ok(Exit::Done)
        }
    }
}

fn text(plan: &Plan) -> String {
    let steps = plan.steps().iter().map(|step| {
        let lines = |mark: char, lines: &[String]| -> String {
            lines.iter().map(|line| format!("    {mark} {line}\n")).collect()
        };
        let (removed, added) = (lines('-', &step.removed), lines('+', &step.added));
        format!("{}\n{removed}{added}", title(step))
    });
    steps.chain(plan.unlisted().iter().map(unlisted_line)).collect()
}

/// Says what a step does: `add key pk_… "laptop" of shop`.
fn title(step: &Step) -> String {
    let verb = match step.action {
        Action::AddApplication | Action::AddKey => "add",
        Action::ChangeApplication | Action::ChangeKey => "change",
        Action::RemoveApplication => "remove",
        Action::QuarantineKey => "quarantine",
        Action::ReleaseKey => "release",
        Action::RevokeKey => "revoke",
        other => other.as_str(),
    };
    let name = &step.application;
    match (&step.key, &step.label) {
        (Some(key), Some(label)) => format!("{verb} key {key} {label:?} of {name}"),
        _ => format!("{verb} application {name}"),
    }
}

fn unlisted_line(unlisted: &Unlisted) -> String {
    let name = &unlisted.application;
    match (&unlisted.key, &unlisted.label) {
        (Some(key), Some(label)) => format!("unlisted: key {key} {label:?} of {name}\n"),
        _ => format!("unlisted: application {name}\n"),
    }
}

fn object(plan: &Plan) -> Value {
    let step = |step: &Step| {
        json!({
            "action": step.action.as_str(),
            "application": step.application.as_str(),
            "publishable_key": step.key.map(|key| key.to_string()),
            "label": step.label.as_ref().map(|label| label.as_str()),
            "removed": step.removed,
            "added": step.added,
        })
    };
    let unlisted = |unlisted: &Unlisted| {
        json!({
            "application": unlisted.application.as_str(),
            "publishable_key": unlisted.key.map(|key| key.to_string()),
            "label": unlisted.label.as_ref().map(|label| label.as_str()),
        })
    };
    json!({
        "differs": !plan.is_empty(),
        "changes": plan.steps().iter().map(step).collect::<Vec<_>>(),
        "unlisted": plan.unlisted().iter().map(unlisted).collect::<Vec<_>>(),
    })
}
