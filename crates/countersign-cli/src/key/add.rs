use std::path::Path;

use clap::Args;
use countersign::{Algorithm, KeyError, KeyFile, ProvenKey, Timestamp};
use countersign_store::{NewCredential, Registry, RestrictionKind, Restrictions, Scope};

use super::restriction_args::RestrictionArgs;
use crate::{
    credential::object,
    failure::Failure,
    key_source::{self, PassphraseSource},
    moment,
    output::note,
    registry_args::RegistryArgs,
    shell::quote,
};

/// Registers a key for an application
///
/// For an Ed25519 key, give the .pub file that `countersign keygen` or `countersign pubkey --prove` made: it has the
/// public half, and a proof that its sender has the private half.
#[derive(Args, Debug)]
pub(super) struct Add {
    /// The application
    #[arg(long, value_name = "NAME")]
    app: String,
    #[command(flatten)]
    file: AddedFile,
    /// How to open an encrypted HMAC secret
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Accept a public key without that proof: it may belong to somebody else
    #[arg(long, requires = "public_key")]
    insecure_unproven: bool,
    /// The label of the key [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When the key expires, like 2027-01-31T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    expires: Option<Timestamp>,
    /// A scope of the key, like orders:write; can be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    #[command(flatten)]
    restrictions: RestrictionArgs,
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

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct AddedFile {
    /// The .pub file of an Ed25519 key; `-` is stdin
    #[arg(long, value_name = "FILE")]
    public_key: Option<String>,
    /// The file of an HMAC secret, which the server and the caller share
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<String>,
}

impl Add {
    pub(super) fn run(self, registry: &RegistryArgs) -> Result<(), Failure> {
        let (key, label, now) = (self.key()?, self.label(), moment::now());
        if self.expires.is_some_and(|at| at <= now) {
            return Err(Failure::local(
                "--expires is in the past",
                "give a time to come, or leave it out",
            ));
        }
        let restrictions = self.restrictions()?;
        let Self { app, expires, scopes, .. } = self;
        let new = NewCredential::new(&app, &label, &key)
            .expires_at(expires)
            .scopes(scopes.into_iter().collect())
            .restrictions(restrictions);
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

    fn key(&self) -> Result<ProvenKey, Failure> {
        if let Some(file) = &self.file.hmac_key {
            let source = key_source::source(file)?;
            return match source.read(&self.passphrase)? {
                KeyFile::Private(key) if key.algorithm() == Algorithm::HmacSha256 => {
                    Ok(ProvenKey::from(&key))
                }
                KeyFile::Private(_) => Err(Failure::local(
                    format!("{source} holds a private key, not an HMAC secret"),
                    "a private key stays with its holder; register its .pub file with --public-key",
                )),
                KeyFile::Public(_) => Err(Failure::local(
                    format!("{source} holds an Ed25519 public key, not an HMAC secret"),
                    "an Ed25519 key is registered by its .pub file, with --public-key",
                )),
                KeyFile::Named(_) => Err(Failure::local(
                    format!("{source} only names an HMAC secret"),
                    "register the secret itself: name its own file, the one that begins with sk_",
                )),
            };
        }
        let source = key_source::source(self.file.public_key.as_deref().unwrap_or_default())?;
        let (content, _) = source.content()?;
        let key = match KeyFile::parse(&content, None) {
            Ok(KeyFile::Public(key)) => key,
            Ok(KeyFile::Private(_)) | Err(KeyError::Encrypted) => {
                return Err(Failure::local(
                    format!("{source} holds a private key, which stays with its holder"),
                    "let the holder make its .pub file with `countersign pubkey --prove FILE > FILE.pub`; \
                     an HMAC secret is given with --hmac-key",
                ));
            }
            Ok(KeyFile::Named(_)) => {
                return Err(Failure::local(
                    format!("{source} only names an HMAC secret"),
                    "register the secret itself: --hmac-key FILE",
                ));
            }
            Err(error) => return Err(source.unusable(&error, "a public key")),
        };
        match ProvenKey::from_file(&content) {
            Ok(proven) => Ok(proven),
            // A wrong proof was refused above, so the file has no proof.
            _ if self.insecure_unproven => Ok(ProvenKey::insecure_without_proof(key)),
            _ => Err(source.unusable(&KeyError::Unproven("missing"), "a public key")),
        }
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

    fn label(&self) -> String {
        let file = self.file.public_key.as_deref().or(self.file.hmac_key.as_deref());
        let name = file.and_then(|file| Path::new(file).file_prefix()?.to_str());
        let name = name.filter(|&name| name != "-").unwrap_or("key");
        self.label.clone().unwrap_or_else(|| name.to_owned())
    }
}
