mod restrict;
mod restriction_args;

use std::path::Path;

use clap::{Args, Subcommand};
use countersign::{Algorithm, KeyError, KeyFile, KeyId, ProvenKey, PublishableKey, Timestamp};
use countersign_store::{
    self as store, Credential, NewCredential, RestrictionKind, Restrictions, Revocation, Scopes,
};
use serde_json::Value;

use self::{restrict::Restrict, restriction_args::RestrictionArgs};
use crate::{
    credential::{listed_object, listing, object, shown, tell_damage},
    failure::{Exit, Failure},
    key_source::{self, PassphraseSource},
    moment,
    output::{note, print, print_line},
    registry_args::{IfMissing, RegistryArgs},
    shell::quote,
};

/// Keys: the credentials of applications
#[derive(Args, Debug)]
pub(crate) struct Key {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Box<Add>),
    /// Lists the keys of an application, or of all
    List {
        /// The application
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
    },
    /// Shows a key
    Show {
        /// Its publishable key, or its JWK thumbprint
        // A thumbprint is base64url, which can begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
    Scope(Scope),
    Restrict(Restrict),
    /// Revokes a key for ever: servers refuse it within 5 s
    Revoke {
        /// Its publishable key, or its JWK thumbprint
        // A thumbprint is base64url, which can begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
}

/// Registers a key for an application
///
/// What is registered of an Ed25519 key is the .pub file that `countersign keygen` or `countersign pubkey --prove` made:
/// the public half, and the proof that whoever sent it has the private one.
#[derive(Args, Debug)]
struct Add {
    /// The application
    #[arg(long, value_name = "NAME")]
    app: String,
    #[command(flatten)]
    file: AddedFile,
    /// How to open an encrypted HMAC secret
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Takes a public key without proof that its holder has the private one: it may be somebody else's
    #[arg(long, requires = "public_key")]
    insecure_unproven: bool,
    /// What people call it [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When it stops being good, like 2027-01-31T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    expires: Option<Timestamp>,
    /// What it may do, where routes ask for it, like orders:write; can be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<store::Scope>,
    #[command(flatten)]
    restrictions: RestrictionArgs,
}

/// Changes what a key may do: servers go by it within 5 s
#[derive(Args, Debug)]
struct Scope {
    /// Its publishable key, or its JWK thumbprint
    // A thumbprint is base64url, which can begin with a hyphen.
    #[arg(allow_hyphen_values = true)]
    key: String,
    #[command(flatten)]
    change: ScopeChange,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct ScopeChange {
    /// What it may do from now on, like orders:write; can be repeated
    #[arg(long, value_name = "SCOPE")]
    add: Vec<store::Scope>,
    /// What it may do no longer; can be repeated
    #[arg(long, value_name = "SCOPE")]
    remove: Vec<store::Scope>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct AddedFile {
    /// The .pub file of an Ed25519 key; `-` is stdin
    #[arg(long, value_name = "FILE")]
    public_key: Option<String>,
    /// The file of an HMAC secret, which the server needs as much as its caller does
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<String>,
}

impl Key {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self { registry, json, command } = self;
        let again = registry.again();
        match command {
            Command::Add(add) => {
                let (key, label, now) = (add.key()?, add.label(), moment::now());
                if add.expires.is_some_and(|at| at <= now) {
                    return Err(Failure::local(
                        "--expires is in the past",
                        "give a time to come, or leave it out",
                    ));
                }
                let restrictions = add.restrictions()?;
                let added = registry.ask(IfMissing::Fail, async |registry| {
                    let new = NewCredential::new(&add.app, &label, &key)
                        .expires_at(add.expires)
                        .scopes(add.scopes.iter().cloned().collect())
                        .restrictions(restrictions);
                    registry.add_credential(new, now).await
                })?;
                let printed = match json {
                    true => print_line(object(&added)),
                    false => print_line(added.publishable_key()),
                };
                printed.map_err(|failure| {
                    failure.with_hint(format_args!(
                        "the key was added; `countersign key list --app {}{again}` prints it",
                        quote(&add.app)
                    ))
                })?;
                note(format_args!("{} can use it now; it is called {:?}", add.app, added.label));
            }
            Command::List { app } => {
                let keys = registry.ask(IfMissing::Fail, async |registry| {
                    registry.credentials(app.as_deref()).await
                })?;
                match json {
                    true => print_line(keys.iter().map(listed_object).collect::<Value>())?,
                    false => print(listing(&keys))?,
                }
                tell_damage(&keys);
                if keys.is_empty() {
                    note(format_args!(
                        "no keys; `countersign key add --app NAME --public-key FILE.pub{again}` adds one",
                    ));
                }
            }
            Command::Show { key } => {
                let key = key_id(&key)?;
                let key = registry
                    .ask(IfMissing::Fail, async |registry| registry.credential(&key).await)?;
                match json {
                    true => print_line(object(&key))?,
                    false => print(shown(&key))?,
                }
            }
            Command::Scope(Scope { key, change: ScopeChange { add, remove } }) => {
                if let Some(scope) = add.iter().find(|scope| remove.contains(scope)) {
                    return Err(Failure::local(
                        format!("{scope} is to be added and removed"),
                        "name it once",
                    ));
                }
                let key = key_id(&key)?;
                let changed = registry.ask(IfMissing::Fail, async |registry| {
                    let change = |scopes: &mut Scopes, _: &mut Restrictions| {
                        remove.iter().for_each(|scope| scopes.remove(scope));
                        add.into_iter().for_each(|scope| scopes.insert(scope));
                    };
                    registry.change_credential(&registry.publishable_key(&key).await?, change).await
                })?;
                tell_change(&changed, json, &again)?;
            }
            Command::Restrict(restrict) => {
                let (key, change) = (key_id(&restrict.key)?, restrict.change()?);
                let mut missing = None;
                let changed = registry.ask(IfMissing::Fail, async |registry| {
                    let change = |_: &mut Scopes, restrictions: &mut Restrictions| {
                        missing = change.apply(restrictions);
                    };
                    registry.change_credential(&registry.publishable_key(&key).await?, change).await
                })?;
                if let Some(kind) = missing {
                    return Err(Failure::local(
                        format!("the key has no restriction of the kind `{kind}`"),
                        format_args!(
                            "`countersign key show {}{again}` shows those it has",
                            restrict.key
                        ),
                    ));
                }
                tell_change(&changed, json, &again)?;
            }
            Command::Revoke { key } => {
                let (key, now) = (key_id(&key)?, moment::now());
                let revocation = registry
                    .ask(IfMissing::Fail, async |registry| registry.revoke(&key, now).await)?;
                let (Revocation::Revoked(key) | Revocation::WasRevoked(key)) = &revocation;
                if json {
                    print_line(object(key))?;
                }
                let (name, label) = (&key.application.name, &key.label);
                match &revocation {
                    Revocation::Revoked(_) => note(format_args!(
                        "{label:?} of {name} is revoked for ever; servers refuse it within 5 s"
                    )),
                    Revocation::WasRevoked(_) => note(format_args!(
                        "{label:?} of {name} was revoked before, {}",
                        key.revoked_at.map_or_else(|| "at a time unknown".to_owned(), moment::show)
                    )),
                }
            }
        }
        Ok(Exit::Done)
    }
}

impl Add {
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
                    format!("{source} holds a private key, which nobody but its holder is to have"),
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
            // A proof that is there and wrong was refused above; what is left is a key without one.
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
                format_args!("say what it allows with --allow-{kind}"),
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

fn tell_change(key: &Credential, json: bool, again: &str) -> Result<(), Failure> {
    let printed = match json {
        true => print_line(object(key)),
        false => print(shown(key)),
    };
    printed.map_err(|failure| {
        let key = key.publishable_key();
        failure.with_hint(format_args!(
            "the key was changed; `countersign key show {key}{again}` prints it"
        ))
    })?;
    note("servers go by it within 5 s");
    Ok(())
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|error| match text.parse::<PublishableKey>() {
        Err(damaged @ KeyError::Damaged(_)) => Failure::local(
            format!("`{text}` is no publishable key: {damaged}"),
            "copy it again: a typo is told by its checksum",
        ),
        _ => Failure::local(
            format!("`{text}`: {error}"),
            "`countersign key list` shows the publishable keys there are",
        ),
    })
}
