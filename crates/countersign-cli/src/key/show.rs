use clap::Args;

use super::key_arg::KeyArg;
use crate::{
    credential::{listed_object, shown, shown_unusable, warn_of_damage},
    failure::Failure,
    registry_args::RegistryArgs,
};

/// Shows a key
#[derive(Args, Debug)]
pub(super) struct Show {
    #[command(flatten)]
    key: KeyArg,
}

impl Show {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let key = self.key.id()?;
        let key =
            registry.ask(async |registry| match registry.listed_credential(&key).await? {
                Err(damaged) if !damaged.is_sealed() => Err(damaged.error),
                listed => Ok(listed),
            })?;
        let text = || match &key {
            Ok(key) => shown(key),
            Err(sealed) => shown_unusable(sealed),
        };
        registry.print(|| listed_object(&key), text)?;
        warn_of_damage(&[key]);
        Ok(())
    }
}
