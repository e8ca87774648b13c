use clap::Args;
use countersign_store::Label;

use super::{change, key_arg::KeyArg, limit_args::LimitArgs};
use crate::{
    failure::Failure,
    moment::{self, Expiry},
    registry_args::RegistryArgs,
};

/// Changes the label, expiry and limits of a key: servers apply it within 1 s
///
/// --limit-signed and --limit-reads replace all of the key's own limits of their kind.
#[derive(Args, Debug)]
pub(super) struct Set {
    #[command(flatten)]
    key: KeyArg,
    /// The label
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,
    /// When the key expires, like 2027-01-31T00:00:00Z, or `never`
    #[arg(long, value_name = "TIME", value_parser = moment::parse_expiry)]
    expires: Option<Expiry>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Remove its own limits of signed requests: those of the server hold
    #[arg(long, conflicts_with = "signed_limits")]
    no_limit_signed: bool,
    /// Remove its own limits of unsigned reads: those of the server hold
    #[arg(long, conflicts_with = "read_limits")]
    no_limit_reads: bool,
}

impl Set {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let Self { key, label, expires, limits, no_limit_signed, no_limit_reads } = self;
        let LimitArgs { signed_limits, read_limits } = limits;
        let limits_signed = no_limit_signed || !signed_limits.is_empty();
        let limits_reads = no_limit_reads || !read_limits.is_empty();
        if label.is_none() && expires.is_none() && !limits_signed && !limits_reads {
            return Err(Failure::local(
                "no change is given",
                "add --label, --expires, --limit-signed or --limit-reads",
            ));
        }
        let expires = expires.map(Expiry::in_future).transpose()?;
        let changed = change::make(registry, &key, move |settings| {
            if let Some(label) = label {
                settings.label = label;
            }
            if let Some(expires) = expires {
                settings.expires_at = expires;
            }
            if limits_signed {
                settings.limits = settings.limits.clone().signed(signed_limits);
            }
            if limits_reads {
                settings.limits = settings.limits.clone().unsigned(read_limits);
            }
        })?;
        change::print(registry, &changed)
    }
}
