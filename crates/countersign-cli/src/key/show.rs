use clap::Args;

use super::key_arg::KeyArg;
use crate::{
    credential::{object, shown},
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
        let key = registry.ask(async |registry| registry.credential(&key).await)?;
        registry.print(|| object(&key), || shown(&key))
    }
}
