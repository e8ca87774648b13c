use std::sync::Arc;

use countersign_store::{Credential, CredentialSettings};

use super::key_arg::KeyArg;
use crate::{
    credential::{object, shown},
    failure::Failure,
    moment,
    output::note,
    registry_args::RegistryArgs,
};

/// Changes the settings of a key, and returns the changed key.
pub(super) fn make(
    registry: &RegistryArgs,
    key: &KeyArg,
    change: impl FnOnce(&mut CredentialSettings) + Send + 'static,
) -> Result<Arc<Credential>, Failure> {
    let key = key.id()?;
    registry.ask(async |registry| registry.change_credential(&key, moment::now(), change).await)
}

/// Prints a changed key.
pub(super) fn print(registry: &RegistryArgs, changed: &Credential) -> Result<(), Failure> {
    registry.print(|| object(changed), || shown(changed)).map_err(|failure| {
        failure.with_hint(format_args!(
            "the key was changed; `countersign key show {}{}` prints it",
            changed.publishable_key(),
            registry.db_option()
        ))
    })?;
    note("servers apply it within 1 s");
    Ok(())
}

/// Says that another key took over from this one, and is not what this one became. A thief of a key can replace it.
pub(super) fn note_successor(key: &Credential, became: &str) {
    if let Some(successor) = key.replaced_by {
        note(format_args!(
            "{successor} took over from it, and is not {became}: if others may have had this key, that one may be theirs"
        ));
    }
}
