use clap::Args;
use countersign_store::PlanOptions;

use super::planned::{Outcome, print, read, refused};
use crate::{
    failure::{Exit, Failure},
    registry_args::RegistryArgs,
};

/// Shows how a registry differs from a text: exit code 5 if it does
///
/// The lines of the registry have a `-`, the lines of the text a `+`. Applications and keys outside of the text are
/// shown as unlisted; revoked keys need not be listed.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 the registry is as the text says · 5 it differs · 1 the text cannot be read."
)]
pub(super) struct Diff {
    /// The text, as `countersign registry export` writes it; `-` is stdin
    file: String,
}

impl Diff {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<Exit, Failure> {
        let text = read(&self.file)?;
        // Nothing is added here.
        let options = PlanOptions::new().insecure_accept_unproven();
        let plan = registry.ask(async |registry| Ok(registry.plan(&text, options).await))?;
        let plan = plan.or_else(|error| refused(&self.file, registry, error))?;
        print(registry, &plan, Outcome::Compared)
    }
}
