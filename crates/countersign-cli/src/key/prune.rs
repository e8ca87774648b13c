use std::time::Duration;

use clap::Args;
use countersign_store::{CredentialFilter, Reason, Revocation};
use serde_json::Value;

use crate::{
    credential::{Listed, listed_object, listing, warn_of_damage},
    duration_arg,
    failure::Failure,
    moment,
    output::note,
    pages::ALL,
    registry_args::RegistryArgs,
};

/// A key is looked for in the registry at least this long, for servers save the last use from time to time.
const SHORTEST: Duration = Duration::from_secs(86_400);

/// Revokes unused keys for ever
///
/// Servers record the use of keys: signed requests, and reads with the publishable key. If there are no records for so
/// long, no key counts as unused.
#[derive(Args, Debug)]
pub(super) struct Prune {
    /// How long a key was not used, like 90d; at least 1d
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    unused: Duration,
    /// The application [default: all]
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Print the keys, and revoke none
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { unused, app, dry_run } = self;
        if unused < SHORTEST {
            return Err(Failure::local(
                "--unused is too short: a key that is in use could be revoked",
                "give at least 1d; 90d is usual",
            ));
        }
        let time = duration_arg::show(unused);
        let reason: Option<Reason> = format!("unused for {time}").parse().ok();
        let all = app.iter().fold(CredentialFilter::default(), |all, name| all.application(name));
        let filter = all.unused_for(unused);
        let pruned = registry.ask(async |registry| {
            let now = moment::now();
            let (mut keys, _) = ALL.credentials(registry, &filter, now).await?;
            if !dry_run {
                for key in keys.iter_mut().flatten() {
                    let id = key.publishable_key().into();
                    let revocation = registry.revoke(&id, reason.clone(), now).await?;
                    let (Revocation::Revoked(revoked) | Revocation::WasRevoked(revoked)) =
                        revocation;
                    *key = revoked;
                }
            }
            Ok(keys)
        })?;
        registry
            .print(|| pruned.iter().map(listed_object).collect::<Value>(), || listing(&pruned))?;
        warn_of_damage(&pruned);
        let count = pruned.iter().filter(|key| Listed::is_ok(key)).count();
        match (count, dry_run) {
            (0, _) => note(format_args!(
                "no key is known to be unused for {time}: uses count from the first that a server records"
            )),
            (_, true) => note(format_args!("{count} would be revoked; run it without --dry-run")),
            (_, false) => {
                note(format_args!("{count} revoked for ever; servers refuse them within 1 s"));
            }
        }
        Ok(())
    }
}
