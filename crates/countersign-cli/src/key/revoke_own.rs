use clap::Args;
use countersign_client::OwnRevocation;
use serde_json::json;

use super::own_key_args::OwnKeyArgs;
use crate::{failure::Failure, moment, output::note, registry_args::RegistryArgs};

/// Revokes your own key for ever, at the server
///
/// Needs no registry and no operator: the server lets the holder of a key revoke it, with a request signed by the key.
/// Do this when others may have the key. The file stays where it is.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 the key is revoked, now or before · 1 wrong usage, or the key file · 2 the server or the network · 3 refused (401, 403, 409) · 4 a limit (429)."
)]
pub(super) struct RevokeOwn {
    #[command(flatten)]
    own: OwnKeyArgs,
    /// Why, in at most 200 characters, for the operator's audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl RevokeOwn {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { own, reason } = self;
        let revocation = own.ask(async |own| own.revoke(reason.as_deref()).await)?;
        let (key, revoked_at) = match &revocation {
            OwnRevocation::Revoked(key) => {
                (Some(key.publishable_key.to_string()), key.revoked_at.map(moment::show))
            }
            OwnRevocation::WasRevoked => (None, None),
        };
        let file = own.file();
        registry.print(
            || {
                json!({
                    "publishable_key": key,
                    "state": "revoked",
                    "revoked_at": revoked_at,
                    "file": file.display().to_string(),
                })
            },
            String::new,
        )?;
        match revocation {
            OwnRevocation::Revoked(_) => note(format_args!(
                "the key in {} is revoked for ever; remove the file",
                file.display()
            )),
            OwnRevocation::WasRevoked => {
                note(format_args!("the key in {} was revoked before", file.display()));
            }
        }
        Ok(())
    }
}
