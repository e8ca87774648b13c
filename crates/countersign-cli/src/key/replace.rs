use std::time::Duration;

use clap::Args;
use countersign::Timestamp;
use countersign_store::{Replacement, Rotation, Stage};
use serde_json::json;

use super::{key_arg::KeyArg, new_key_arg::NewKeyArg};
use crate::{
    credential::object,
    duration_arg,
    failure::Failure,
    moment::{self, Expiry},
    output::note,
    registry_args::RegistryArgs,
};

/// For how long both keys are valid, unless it is said.
pub(super) const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// Lets a new key take over from another
///
/// The new key has the application, scopes, restrictions and limits of the old key. The old key is valid until the
/// overlap ends; revoke it to end the overlap at once. The command can be run again with the same two keys.
#[derive(Args, Debug)]
pub(super) struct Replace {
    #[command(flatten)]
    old: KeyArg,
    #[command(flatten)]
    key: NewKeyArg,
    /// For how long both keys are valid, like 0, 1h, 24h, 7d or 30d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration_arg::parse)]
    overlap: Duration,
    /// The label of the new key [default: that of the old one]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When the new key expires, like 2027-01-31T00:00:00Z, or `never` [default: when the old one was to expire]
    #[arg(long, value_name = "TIME", value_parser = moment::parse_expiry)]
    expires: Option<Expiry>,
}

impl Replace {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { old, key, overlap, label, expires } = self;
        let expires = expires.map(Expiry::in_future).transpose()?;
        Replacing { old, key, label, overlap, expires }.run(registry)
    }
}

/// The replacement of a key by another.
pub(super) struct Replacing {
    pub(super) old: KeyArg,
    pub(super) key: NewKeyArg,
    pub(super) label: Option<String>,
    pub(super) overlap: Duration,
    pub(super) expires: Option<Option<Timestamp>>,
}

impl Replacing {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (old, key, now) = (self.old.id()?, self.key.key()?, moment::now());
        let mut replacement = Replacement::new(&key, self.overlap);
        if let Some(label) = &self.label {
            replacement = replacement.label(label);
        }
        if let Some(expires) = self.expires {
            replacement = replacement.expires_at(expires);
        }
        let rotation =
            registry.ask(async |registry| registry.rotate(&old, replacement, now).await)?;
        let Rotation { new, old, .. } = &rotation;
        let db = registry.db_option();
        let printed = registry.print(
            || json!({ "new": object(new), "old": object(old) }),
            || format!("{}\n", new.publishable_key()),
        );
        printed.map_err(|failure| {
            failure.with_hint(format_args!(
                "the key was replaced; `countersign key show {}{db}` prints the new one",
                new.publishable_key()
            ))
        })?;
        let (name, label) = (&new.application.name, &new.label);
        match (old.stage(now), old.expires_at) {
            (Stage::Retiring, Some(until)) => note(format_args!(
                "it takes over {label:?} of {name}; the old key is valid until {}, or until \
                 `countersign key revoke {}{db}`",
                moment::show(until),
                old.publishable_key()
            )),
            (stage, _) => {
                note(format_args!("it takes over {label:?} of {name}; the old key is {stage}"));
            }
        }
        Ok(())
    }
}
