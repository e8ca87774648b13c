use std::num::NonZeroU32;

use clap::Args;
use countersign_store::{MasterKeyRole, RewrapBatch, Rewrapped, Secrets};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    moment,
    output::note,
    registry_args::RegistryArgs,
};

/// Seals all HMAC secrets with the current master key
///
/// Moves plain secrets and secrets of the previous master key, in batches. It can be stopped at any time and run again,
/// and run while servers use the registry. Afterwards the previous master key can go.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 no secret is left, so that the previous master key can go · 1 some are left."
)]
pub(super) struct Rewrap {
    /// How many secrets are sealed in one transaction, in which the registry makes no other change
    #[arg(long, value_name = "N", default_value = "100")]
    batch: NonZeroU32,
}

impl Rewrap {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<Exit, Failure> {
        let (done, secrets) = registry.ask(async |registry| {
            let before = registry.secrets().await?;
            let total = before.left().saturating_sub(before.unopened());
            let mut done = Rewrapped::default();
            let mut next = Some(RewrapBatch::first(Some(self.batch.get())));
            while let Some(batch) = next {
                let (of_batch, after) = registry.rewrap(batch, moment::now()).await?;
                done.moved = done.moved.saturating_add(of_batch.moved);
                if of_batch.moved > 0 {
                    note(format_args!("{} of {total}", done.moved));
                }
                done.damaged.extend(of_batch.damaged);
                next = after;
            }
            done.moved = done.moved.saturating_add(registry.sealed_now());
            Ok((done, registry.secrets().await?))
        })?;
        let left = secrets.left();
        registry.print(
            || json!({ "moved": done.moved, "left": left }),
            || format!("moved {}, left {left}\n", done.moved),
        )?;
        if left == 0 {
            return Ok(Exit::Done);
        }
        Err(why_left(&done, &secrets))
    }
}

fn why_left(done: &Rewrapped, secrets: &Secrets) -> Failure {
    let left = match secrets.left() {
        1 => "1 secret is left".to_owned(),
        left => format!("{left} secrets are left"),
    };
    if !done.damaged.is_empty() {
        return Failure::local(
            format!("{left}, and {} of them in damaged rows", done.damaged.len()),
            "`countersign key list` shows them; restore a backup of the registry, or revoke these keys",
        );
    }
    let missing = secrets.sealed.iter().find(|sealed| sealed.role == MasterKeyRole::Missing);
    match missing.and_then(|sealed| sealed.master_key) {
        Some(id) => Failure::local(
            format!("{left}, sealed with master key {id}, which is not given"),
            "give that one with --previous-master-key FILE, and run this again",
        ),
        None => Failure::local(
            format!("{left}, which others have added meanwhile"),
            "run this again; servers that still have the old master key seal with that one",
        ),
    }
}
