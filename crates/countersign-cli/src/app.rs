use clap::{Args, Subcommand};
use countersign_store::{Application, ApplicationName, BadName, DamagedApplication, Environment};
use serde_json::{Value, json};

use crate::{
    credential,
    failure::{Exit, Failure, one_line, with_reasons},
    moment,
    output::{note, print, print_line},
    registry_args::{IfMissing, RegistryArgs, failure},
    table::{columns, facts},
};

/// Applications: programs that call the API, and own keys
#[derive(Args, Debug)]
pub(crate) struct App {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adds an application, and makes the registry if there is none
    Add {
        /// Its name: letters, digits and . _ -
        name: String,
        /// Its environment, as live or test
        #[arg(long, value_name = "ENV", default_value = "live")]
        env: String,
    },
    /// Lists the applications
    List,
    /// Shows an application and its keys
    Show {
        /// Its name
        name: String,
    },
    /// Removes an application whose keys are all revoked
    Remove {
        /// Its name
        name: String,
    },
}

impl App {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { registry, json, command } = self;
        let again = registry.again();
        match command {
            Command::Add { name, env } => {
                let now = moment::now();
                // Before the registry is opened, and so made.
                let bad = |error: BadName| failure("", &error.into());
                let name: ApplicationName = name.parse().map_err(bad)?;
                let env: Environment = env.parse().map_err(bad)?;
                let added = registry.ask(IfMissing::Create, async |registry| {
                    registry.add_application(name.clone(), env, now).await
                })?;
                let printed = match json {
                    true => print_line(object(&added)),
                    false => print_line(&added.name),
                };
                printed.map_err(|failure| {
                    failure.with_hint(format_args!(
                        "the application was added; `countersign app show {name}{again}` prints it"
                    ))
                })?;
                note(format_args!(
                    "added; give it a key with `countersign key add --app {name} --public-key FILE.pub{again}`"
                ));
            }
            Command::List => {
                let all = registry
                    .ask(IfMissing::Fail, async |registry| registry.applications().await)?;
                if json {
                    print_line(all.iter().map(listed_object).collect::<Value>())?;
                } else {
                    let rows: Vec<_> = all.iter().map(row).collect();
                    print(columns(["NAME", "ENVIRONMENT", "ADDED"], &rows))?;
                }
                for damaged in all.iter().filter_map(|one| one.as_ref().err()) {
                    note(one_line(&format!(
                        "warning: {}; servers refuse its keys: restore a backup of the registry",
                        with_reasons(&**damaged)
                    )));
                }
                if all.is_empty() {
                    note(format_args!(
                        "no applications; `countersign app add NAME{again}` adds one"
                    ));
                }
            }
            Command::Show { name } => {
                let (application, keys) = registry.ask(IfMissing::Fail, async |registry| {
                    let application = registry.application(&name).await?;
                    Ok((application, registry.credentials(Some(&name)).await?))
                })?;
                if json {
                    let mut object = object(&application);
                    let keys: Value = keys.iter().map(credential::listed_object).collect();
                    if let Some(object) = object.as_object_mut() {
                        object.insert("keys".to_owned(), keys);
                    }
                    print_line(object)?;
                } else {
                    print(facts([
                        ("name", Some(application.name.to_string())),
                        ("environment", Some(application.environment.to_string())),
                        ("added", Some(moment::show(application.created_at))),
                        ("keys", keys.is_empty().then(|| "none".to_owned())),
                    ]))?;
                    if !keys.is_empty() {
                        print_line("")?;
                        print(credential::listing(&keys))?;
                    }
                }
                credential::tell_damage(&keys);
            }
            Command::Remove { name } => {
                let now = moment::now();
                registry.ask(IfMissing::Fail, async |registry| {
                    registry.remove_application(&name, now).await
                })?;
                match json {
                    true => print_line(json!({ "removed": name }))?,
                    false => note(format_args!("{name} is removed; its keys stay revoked")),
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// An application as a registry lists it: also one whose row is damaged.
type Listed = Result<Application, Box<DamagedApplication>>;

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

/// Of a damaged one there is what could be read, `null` for the rest, and `damage`, which says what is wrong with it.
fn listed_object(application: &Listed) -> Value {
    match application {
        Ok(application) => object(application),
        Err(damaged) => json!({
            "name": damaged.name,
            "environment": damaged.environment,
            "created_at": null,
            "damage": with_reasons(&**damaged),
        }),
    }
}

fn object(application: &Application) -> Value {
    json!({
        "name": application.name.as_str(),
        "environment": application.environment.as_str(),
        "created_at": moment::show(application.created_at),
    })
}
