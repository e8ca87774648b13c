use clap::Args;
use countersign_store::{MasterKey, MasterKeys};

use crate::{
    environment::{MASTER_KEY_VARIABLE, PREVIOUS_MASTER_KEY_VARIABLE},
    failure::Failure,
    key_source::descriptor,
    master_key_source,
};

/// The master keys of a registry.
#[derive(Args, Clone, Debug)]
pub(crate) struct MasterKeyArgs {
    /// The file of the master key that seals HMAC secrets; `-` is stdin, fd:N a descriptor, env:NAME a variable [default: the
    /// text in COUNTERSIGN_MASTER_KEY, if it is set]
    #[arg(long, value_name = "FILE", global = true)]
    master_key: Option<String>,
    /// The file of the master key that it replaced, which only opens [default: the text in COUNTERSIGN_PREVIOUS_MASTER_KEY, if it
    /// is set]
    #[arg(long, value_name = "FILE", global = true)]
    previous_master_key: Option<String>,
}

impl MasterKeyArgs {
    /// Returns the descriptors of the master keys, which no other process needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        let named = [self.master_key.as_deref(), self.previous_master_key.as_deref()];
        named.into_iter().flatten().filter_map(descriptor)
    }

    /// Reads the master keys. `None` if none is given.
    pub(crate) fn read(&self) -> Result<Option<MasterKeys>, Failure> {
        let current = read(self.master_key.as_deref(), MASTER_KEY_VARIABLE)?;
        let previous = read(self.previous_master_key.as_deref(), PREVIOUS_MASTER_KEY_VARIABLE)?;
        match (current, previous) {
            (Some(current), previous) => Ok(Some(MasterKeys::new(current).with_previous(previous))),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::local(
                "only the previous master key is given",
                "give the current one as well, with --master-key; if there is no newer one, this is the current one",
            )),
        }
    }
}

fn read(argument: Option<&str>, variable: &str) -> Result<Option<MasterKey>, Failure> {
    if argument.is_none() && std::env::var_os(variable).is_none() {
        return Ok(None);
    }
    let source = master_key_source::named(argument, variable)?;
    master_key_source::read(&source).map(Some)
}
