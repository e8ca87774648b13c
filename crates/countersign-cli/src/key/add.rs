use std::time::Duration;

use clap::Args;
use countersign::Timestamp;
use countersign_store::{NewCredential, Registry, RestrictionKind, Restrictions, Scope};

use super::{
    key_arg::KeyArg,
    limit_args::LimitArgs,
    new_key_arg::NewKeyArg,
    replace::{DEFAULT_OVERLAP, Replacing},
    restriction_args::RestrictionArgs,
};
use crate::{
    credential::object, duration_arg, failure::Failure, moment, output::note,
    registry_args::RegistryArgs, shell::quote,
};

/// Registers a key for an application
///
/// For an Ed25519 key, give the .pub file of `countersign keygen` or `countersign pubkey --prove`: it has the public
/// half, and the proof of the private half.
#[derive(Args, Debug)]
pub(super) struct Add {
    /// The application
    #[arg(long, value_name = "NAME", required_unless_present = "replaces")]
    app: Option<String>,
    /// Take over from this key, with its application, scopes, restrictions and limits: the same as `key replace`
    #[arg(long, value_name = "KEY", allow_hyphen_values = true,
          conflicts_with_all = ["app", "scopes", "signed_limits", "read_limits"])]
    replaces: Option<String>,
    /// With --replaces: for how long both keys are valid, like 0, 1h, 24h, 7d or 30d [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration_arg::parse)]
    overlap: Option<Duration>,
    #[command(flatten)]
    key: NewKeyArg,
    /// The label of the key [default: the file's name; with --replaces, the label of the old key]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When the key expires, like 2027-01-31T00:00:00Z [default: never; with --replaces, when the old key was to expire]
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    expires: Option<Timestamp>,
    /// A scope of the key, like orders:write; can be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    #[command(flatten)]
    restrictions: RestrictionArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How an HMAC secret lies in a registry.
#[derive(Clone, Copy, Debug)]
enum Lies {
    Sealed,
    PlainInFile,
    PlainOnServer,
}

impl Lies {
    fn of(registry: &Registry) -> Self {
        match (registry.has_master_key(), registry.file()) {
            (true, _) => Self::Sealed,
            (false, Some(_)) => Self::PlainInFile,
            (false, None) => Self::PlainOnServer,
        }
    }

    fn note(self) {
        let readers = match self {
            Self::Sealed => return,
            Self::PlainInFile => "a reader of its file or of a copy",
            Self::PlainOnServer => "a reader of the database, a replica or a dump",
        };
        note(format_args!(
            "the secret lies in the registry as it is, and {readers} can sign: `countersign master-key generate` makes a key that seals it; \
             give that with --master-key"
        ));
    }
}

impl Add {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let now = moment::now();
        if self.expires.is_some_and(|at| at <= now) {
            return Err(Failure::local(
                "--expires is in the past",
                "give a time to come, or leave it out",
            ));
        }
        let restrictions = self.restrictions()?;
        let Self { app, replaces, overlap, key, label, expires, scopes, limits, .. } = self;
        if let Some(old) = replaces {
            if !restrictions.is_empty() {
                return Err(Failure::local(
                    "--allow-… does not go with --replaces: the new key takes over the restrictions of the old one",
                    "leave it out, and change the new key with `countersign key restrict` afterwards",
                ));
            }
            let (old, overlap) = (KeyArg { key: old }, overlap.unwrap_or(DEFAULT_OVERLAP));
            let expires = expires.map(Some);
            return Replacing { old, key, label, overlap, expires }.run(registry);
        }
        if overlap.is_some() {
            return Err(Failure::local(
                "--overlap is for a key that takes over from another",
                "name the other with --replaces, or leave --overlap out",
            ));
        }
        let app = app.unwrap_or_default();
        let (label, key) = (label.unwrap_or_else(|| key.label().to_owned()), key.key()?);
        let new = NewCredential::new(&app, &label, &key)
            .expires_at(expires)
            .scopes(scopes.into_iter().collect())
            .restrictions(restrictions)
            .limits(limits.limits());
        let (added, lies) = registry.ask(async |registry| {
            let added = registry.add_credential(new, now).await?;
            Ok((added, Lies::of(registry)))
        })?;
        let printed =
            registry.print(|| object(&added), || format!("{}\n", added.publishable_key()));
        printed.map_err(|failure| {
            failure.with_hint(format_args!(
                "the key was added; `countersign key list --app {}{}` prints it",
                quote(&app),
                registry.db_option()
            ))
        })?;
        note(format_args!("registered for {app} with the label {:?}", added.label));
        if added.key.hmac_secret().is_some() {
            lies.note();
        }
        Ok(())
    }

    fn restrictions(&self) -> Result<Restrictions, Failure> {
        let restrictions = self.restrictions.restrictions()?;
        let named = |kind: &&RestrictionKind| !self.restrictions.names(**kind);
        if let Some(kind) = self.restrictions.report_only.iter().find(named) {
            return Err(Failure::local(
                format!("there is no restriction of the kind `{kind}` to report"),
                format_args!("add --allow-{kind}"),
            ));
        }
        Ok(restrictions.into_iter().fold(Restrictions::default(), Restrictions::with))
    }
}
