use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use clap::Args;
use countersign_store::{CallOutcome, CredentialFilter, Scope, UsageDimension};
use serde_json::{Value, json};

use super::{declared_routes::DeclaredRoute, question::Question};
use crate::{
    failure::Failure, output::note, pages::ALL, printable::one_line, registry_args::RegistryArgs,
    table::columns,
};

/// Prints unused scopes of keys
///
/// A key used a scope if a call of a route that requires it passed. `countersign key scope` takes a scope away.
#[derive(Args, Debug)]
pub(super) struct UnusedScopes {
    /// A file with the routes that the server declares, as it prints them: lines, or the JSON of `countersign serve
    /// routes --json`
    #[arg(long, value_name = "FILE")]
    routes: PathBuf,
}

/// A scope of a key that no call needed.
struct Unused {
    application: String,
    label: String,
    key: String,
    scope: String,
    /// Whether any route requires it.
    is_required: bool,
}

impl UnusedScopes {
    pub(super) fn run(self, registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let declared = DeclaredRoute::read(&self.routes)?;
        let scopes: HashMap<&str, &[String]> =
            declared.iter().map(|route| (route.label.as_str(), route.scopes.as_slice())).collect();
        let required: HashSet<&str> =
            scopes.values().copied().flatten().map(String::as_str).collect();
        let unused = registry.ask(async |open| {
            let query = question.query().outcome(CallOutcome::Passed);
            let query = query.group_by(UsageDimension::Key).group_by(UsageDimension::Route);
            let mut used: HashSet<(String, &str)> = HashSet::new();
            for row in question.ask(open, "by key and route", query).await?.rows {
                let [Some(key), Some(route)] = row.group.as_slice() else { continue };
                for scope in scopes.get(route.as_str()).copied().unwrap_or_default() {
                    used.insert((key.clone(), scope));
                }
            }
            let all = CredentialFilter::default();
            let filter = match &question.filter.app {
                Some(name) => all.application(name),
                None => all,
            };
            let only = match &question.filter.key {
                Some(key) => Some(open.publishable_key(key).await?.to_string()),
                None => None,
            };
            let (keys, _) = ALL.credentials(open, &filter, question.range.now).await?;
            let mut unused = Vec::new();
            for credential in keys.iter().flatten() {
                let key = credential.publishable_key().to_string();
                let is_over = credential.revoked_at.is_some();
                if is_over || only.as_ref().is_some_and(|only| *only != key) {
                    continue;
                }
                let names = credential.scopes.iter().map(Scope::as_str);
                for scope in names.filter(|scope| !used.contains(&(key.clone(), *scope))) {
                    unused.push(Unused {
                        application: credential.application.name.to_string(),
                        label: credential.label.to_string(),
                        key: key.clone(),
                        scope: scope.to_owned(),
                        is_required: required.contains(scope),
                    });
                }
            }
            Ok(unused)
        })?;
        registry.print(|| unused.iter().map(object).collect::<Value>(), || listing(&unused))?;
        if unused.is_empty() {
            note("every scope was used");
        }
        Ok(())
    }
}

fn object(unused: &Unused) -> Value {
    json!({
        "application": unused.application,
        "label": unused.label,
        "key": unused.key,
        "scope": unused.scope,
        "required_by_a_route": unused.is_required,
    })
}

fn listing(unused: &[Unused]) -> String {
    let row = |unused: &Unused| {
        let required = if unused.is_required { "yes" } else { "no" };
        [
            one_line(&unused.application),
            one_line(&unused.label),
            one_line(&unused.scope),
            required.to_owned(),
            one_line(&unused.key),
        ]
    };
    let rows: Vec<_> = unused.iter().map(row).collect();
    columns(["APPLICATION", "LABEL", "UNUSED SCOPE", "REQUIRED BY A ROUTE", "KEY"], &rows)
}
