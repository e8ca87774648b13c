use clap::Args;
use countersign_store::{PlanOptions, RegistryError};

use super::planned::{Outcome, print, read, refused};
use crate::{
    failure::{Exit, Failure},
    moment,
    registry_args::RegistryArgs,
};

/// Changes a registry to match a text: as a whole or, if anything is wrong, not at all
///
/// Shows the changes first. Unlisted keys and applications stay, unless --prune is given. A new key needs its proof in
/// the text; an HMAC secret cannot be added by text. Makes the registry if it is missing.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 the registry is as the text says · 1 nothing was changed: the text cannot be read or applied · 5 with --dry-run: the registry differs."
)]
pub(super) struct Apply {
    /// The text, as `countersign registry export` writes it; `-` is stdin
    file: String,
    /// Only show the changes: exit code 5 if the registry differs from the text
    #[arg(long)]
    dry_run: bool,
    /// Revoke the keys and remove the applications that the text does not list
    #[arg(long)]
    prune: bool,
    /// Accept new keys without a proof, as in the export of another registry: they may belong to somebody else
    #[arg(long)]
    insecure_unproven: bool,
}

impl Apply {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<Exit, Failure> {
        let text = read(&self.file)?;
        let mut options = PlanOptions::new();
        if self.prune {
            options = options.prune();
        }
        if self.insecure_unproven {
            options = options.insecure_accept_unproven();
        }
        if self.dry_run {
            let plan = registry.ask(async |registry| Ok(registry.plan(&text, options).await))?;
            let plan = plan.or_else(|error| refused(&self.file, registry, error))?;
            return print(registry, &plan, Outcome::Compared);
        }
        let applied = registry.ask_or_create(async |asked| {
            let plan = match asked.plan(&text, options).await {
                Ok(plan) => plan,
                Err(error) => return Ok(Err(error)),
            };
            // Shown before it is done.
            if let Err(failure) = print(registry, &plan, Outcome::Applied) {
                return Ok(Ok(Err(failure)));
            }
            let done = asked.apply(plan, moment::now()).await;
            Ok(done.map(|()| Ok(Exit::Done)))
        })?;
        match applied {
            Ok(done) => done,
            Err(RegistryError::Outdated) => Err(Failure::local(
                "the registry was changed by others meanwhile; the changes above were not made",
                "run it again",
            )),
            Err(error) => refused(&self.file, registry, error),
        }
    }
}
