use clap::Args;
use countersign_store::{Reason, RegistryError, Revocation};

use super::{change, key_arg::KeyArg};
use crate::{
    credential::{listed_object, object},
    failure::Failure,
    moment,
    output::note,
    registry_args::RegistryArgs,
};

/// Revokes a key for ever: servers refuse it within 1 s
#[derive(Args, Debug)]
pub(super) struct Revoke {
    #[command(flatten)]
    key: KeyArg,
    /// Why, for the audit log and `key show`
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
}

impl Revoke {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (key, reason, now) = (self.key.id()?, self.reason, moment::now());
        let revocation =
            registry.ask(async |registry| match registry.revoke(&key, reason, now).await {
                // It is revoked all the same.
                Err(RegistryError::Sealed { .. }) => {
                    Ok(Err(registry.listed_credential(&key).await?))
                }
                revocation => revocation.map(Ok),
            })?;
        let revocation = match revocation {
            Ok(revocation) => revocation,
            Err(sealed) => {
                registry.print(|| listed_object(&sealed), String::new)?;
                note("it is revoked for ever; servers refuse it within 1 s");
                return Ok(());
            }
        };
        let (Revocation::Revoked(key) | Revocation::WasRevoked(key)) = &revocation;
        registry.print(|| object(key), String::new)?;
        let (name, label) = (&key.application.name, &key.label);
        match &revocation {
            Revocation::Revoked(_) => note(format_args!(
                "{label:?} of {name} is revoked for ever; servers refuse it within 1 s"
            )),
            Revocation::WasRevoked(_) => note(format_args!(
                "{label:?} of {name} was revoked before, {}",
                key.revoked_at.map_or_else(|| "at a time unknown".to_owned(), moment::show)
            )),
        }
        change::note_successor(key, "revoked");
        Ok(())
    }
}
