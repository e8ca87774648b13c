use clap::Args;
use countersign_store as store;

use super::{change, key_arg::KeyArg};
use crate::{failure::Failure, registry_args::RegistryArgs};

/// Changes the scopes of a key: servers apply them within 1 s
#[derive(Args, Debug)]
pub(super) struct Scope {
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    change: ScopeChange,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct ScopeChange {
    /// A scope to add, like orders:write; can be repeated
    #[arg(long, value_name = "SCOPE")]
    add: Vec<store::Scope>,
    /// A scope to remove; can be repeated
    #[arg(long, value_name = "SCOPE")]
    remove: Vec<store::Scope>,
}

impl Scope {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let ScopeChange { add, remove } = self.change;
        if let Some(scope) = add.iter().find(|scope| remove.contains(scope)) {
            return Err(Failure::local(
                format!("{scope} is both added and removed"),
                "name it once",
            ));
        }
        let changed = change::make(registry, &self.key, move |settings| {
            remove.iter().for_each(|scope| settings.scopes.remove(scope));
            add.into_iter().for_each(|scope| settings.scopes.insert(scope));
        })?;
        change::print(registry, &changed)
    }
}
