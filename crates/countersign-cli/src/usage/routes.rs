use std::{
    collections::HashSet,
    io::{IsTerminal, stdout},
    path::PathBuf,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    breakdown::{Breakdown, Parts},
    declared_routes::DeclaredRoute,
    dimension::Dimension,
    question::Question,
};
use crate::{
    failure::Failure, output::note, printable::one_line, registry_args::RegistryArgs,
    table::columns,
};

/// Prints the routes by their calls, and the routes without calls
///
/// A server prints the list of its routes with `println!("{}", routes.table()?)`. Without --routes, only routes with
/// calls are known.
#[derive(Args, Debug)]
pub(super) struct Routes {
    /// A file with the routes that the server declares, as it prints them: lines, or the JSON of `countersign serve
    /// routes --json`
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Print only routes without calls
    #[arg(long, requires = "routes")]
    never_called: bool,
}

impl Routes {
    pub(super) fn run(self, registry: &RegistryArgs, question: &Question) -> Result<(), Failure> {
        let declared = match &self.routes {
            Some(file) => DeclaredRoute::read(file)?,
            None => Vec::new(),
        };
        let over_time = !registry.wants_json() && !self.never_called && stdout().is_terminal();
        let parts = Parts { by: vec![Dimension::Route], over_time, ..Parts::default() };
        let called = registry.ask(async |open| Breakdown::ask(open, question, parts).await)?;
        let known: HashSet<_> =
            called.rows().iter().flat_map(|row| row.group.iter().flatten()).collect();
        let uncalled: Vec<_> =
            declared.iter().filter(|route| !known.contains(&route.label)).collect();
        let object = || {
            let uncalled: Value = uncalled.iter().map(|route| object(route)).collect();
            let uncalled = self.routes.is_some().then_some(uncalled);
            match self.never_called {
                true => json!({ "never_called": uncalled }),
                false => {
                    let mut object = called.object();
                    if let (Some(members), Some(uncalled)) = (object.as_object_mut(), uncalled) {
                        members.insert("never_called".into(), uncalled);
                    }
                    object
                }
            }
        };
        let text = || {
            let mut text = match self.never_called {
                true => String::new(),
                false => called.text(),
            };
            if !uncalled.is_empty() {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&listing(&uncalled));
            }
            text
        };
        registry.print(object, text)?;
        match (self.routes.is_some(), uncalled.is_empty()) {
            (true, true) => note("every declared route was called"),
            (true, false) => {}
            (false, _) => {
                note("routes without calls: give the list of the server with --routes FILE")
            }
        }
        Ok(())
    }
}

fn object(route: &DeclaredRoute) -> Value {
    json!({ "route": route.label, "access": route.access, "scopes": route.scopes })
}

fn listing(routes: &[&DeclaredRoute]) -> String {
    let row = |route: &&DeclaredRoute| {
        let scopes = route.scopes.join(" ");
        [one_line(&route.label), one_line(&route.access), one_line(&scopes)]
    };
    let rows: Vec<_> = routes.iter().map(row).collect();
    columns(["NEVER CALLED", "ACCESS", "SCOPES"], &rows)
}
