use countersign::with_reasons;
use countersign_store::{Application, DamagedApplication};
use serde_json::{Value, json};

use crate::{
    moment,
    output::warn,
    printable::one_line,
    table::{columns, facts},
};

/// An application in a registry's list. Its row may be damaged.
pub(crate) type Listed = Result<Application, Box<DamagedApplication>>;

/// Returns applications as a table.
pub(crate) fn listing(applications: &[Listed]) -> String {
    let rows: Vec<_> = applications.iter().map(row).collect();
    columns(["NAME", "ENVIRONMENT", "ADDED"], &rows)
}

/// Warns of the damaged applications among these.
pub(crate) fn warn_of_damage(applications: &[Listed]) {
    for damaged in applications.iter().filter_map(|one| one.as_ref().err()) {
        let reasons = with_reasons(&**damaged);
        warn(format_args!("{reasons}; servers refuse its keys: restore a backup of the registry"));
    }
}

fn row(application: &Listed) -> [String; 3] {
    let or_unknown =
        |text: &Option<String>| text.as_deref().map_or_else(|| "?".to_owned(), one_line);
    match application {
        Ok(Application { name, environment, created_at, .. }) => {
            [name.to_string(), environment.to_string(), moment::show(*created_at)]
        }
        Err(damaged) => {
            [or_unknown(&damaged.name), or_unknown(&damaged.environment), "damaged".to_owned()]
        }
    }
}

/// Returns a listed application as JSON. A damaged application has its readable members, `null` for the others, and the
/// reason in `damage`.
pub(crate) fn listed_object(application: &Listed) -> Value {
    match application {
        Ok(application) => object(application),
        Err(damaged) => json!({
            "name": damaged.name,
            "environment": damaged.environment,
            "created_at": null,
            "contact": null,
            "notes": null,
            "damage": with_reasons(&**damaged),
        }),
    }
}

/// Returns an application as text, with a line for each known fact.
pub(crate) fn shown(application: &Application) -> String {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    facts([
        ("name", Some(application.name.to_string())),
        ("environment", Some(application.environment.to_string())),
        ("added", Some(moment::show(application.created_at))),
        ("contact", known(application.contact.as_str())),
        ("notes", known(application.notes.as_str())),
    ])
}

/// Returns an application as JSON.
pub(crate) fn object(application: &Application) -> Value {
    json!({
        "name": application.name.as_str(),
        "environment": application.environment.as_str(),
        "created_at": moment::show(application.created_at),
        "contact": application.contact.as_str(),
        "notes": application.notes.as_str(),
    })
}
