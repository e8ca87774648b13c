use std::{path::Path, sync::Arc};

use clap::{Args, Subcommand};
use countersign::{Algorithm, KeyError, KeyFile, KeyId, ProvenKey, PublishableKey, Timestamp};
use countersign_store::{Credential, NewCredential, Revocation, Standing, State};
use serde_json::{Value, json};

use crate::{
    failure::{Exit, Failure},
    key_source::{self, PassphraseSource},
    moment,
    output::{note, print, print_line},
    registry_args::{IfMissing, RegistryArgs},
    shell::quote,
    table::{columns, facts},
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
        match command {
            Command::Add(add) => {
                let (key, label, now) = (add.key()?, add.label(), moment::now());
                if add.expires.is_some_and(|at| at <= now) {
                    return Err(Failure::local(
                        "--expires is in the past",
                        "give a time to come, or leave it out",
                    ));
                }
                let added = registry.ask(IfMissing::Fail, async |registry| {
                    let new = NewCredential::new(&add.app, &label, &key).expires_at(add.expires);
                    registry.add_credential(new, now).await
                })?;
                let printed = match json {
                    true => print_line(object(&added)),
                    false => print_line(added.publishable_key()),
                };
                printed.map_err(|failure| {
                    failure.with_hint(format_args!(
                        "the key was added; `countersign key list --app {}` prints it",
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
                    true => print_line(keys.iter().map(|key| object(key)).collect::<Value>())?,
                    false => print(listing(&keys))?,
                }
                if keys.is_empty() {
                    note(
                        "no keys; `countersign key add --app NAME --public-key FILE.pub` adds one",
                    );
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
            Command::Revoke { key } => {
                let (key, now) = (key_id(&key)?, moment::now());
                let revocation = registry.ask(IfMissing::Fail, async |registry| {
                    let key = match key {
                        KeyId::Publishable(key) => key,
                        KeyId::Thumbprint(_) => registry.credential(&key).await?.publishable_key(),
                    };
                    registry.revoke(&key, now).await
                })?;
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
        let proof =
            std::str::from_utf8(&content).ok().map(|text| ProvenKey::from_proof(text.trim()));
        match proof {
            Some(Ok(proven)) => Ok(proven),
            // A proof that is there and wrong was refused above; what is left is a key without one.
            _ if self.insecure_unproven => Ok(ProvenKey::insecure_without_proof(key)),
            _ => Err(source.unusable(&KeyError::Unproven("missing"), "a public key")),
        }
    }

    fn label(&self) -> String {
        let file = self.file.public_key.as_deref().or(self.file.hmac_key.as_deref());
        let name = file.and_then(|file| Path::new(file).file_prefix()?.to_str());
        let name = name.filter(|&name| name != "-").unwrap_or("key");
        self.label.clone().unwrap_or_else(|| name.to_owned())
    }
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

/// A key as JSON has it.
pub(crate) fn object(key: &Credential) -> Value {
    json!({
        "publishable_key": key.publishable_key().to_string(),
        "thumbprint": thumbprint(key),
        "alg": key.key.algorithm().as_str(),
        "application": key.application.name,
        "environment": key.application.environment,
        "label": key.label,
        "state": state(key),
        "created_at": moment::show(key.created_at),
        "expires_at": key.expires_at.map(moment::show),
        "revoked_at": key.revoked_at.map(moment::show),
    })
}

/// Keys as a table.
pub(crate) fn listing(keys: &[Arc<Credential>]) -> String {
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.publishable_key().to_string(),
                key.application.name.clone(),
                key.label.clone(),
                state(key).to_owned(),
                key.expires_at.map_or_else(|| "never".to_owned(), moment::show),
            ]
        })
        .collect();
    columns(["KEY", "APPLICATION", "LABEL", "STATE", "EXPIRES"], &rows)
}

fn shown(key: &Credential) -> String {
    facts([
        ("publishable key", Some(key.publishable_key().to_string())),
        ("thumbprint", thumbprint(key)),
        ("algorithm", Some(key.key.algorithm().to_string())),
        ("application", Some(key.application.name.clone())),
        ("environment", Some(key.application.environment.clone())),
        ("label", Some(key.label.clone())),
        ("state", Some(state(key).to_owned())),
        ("added", Some(moment::show(key.created_at))),
        ("expires", key.expires_at.map(moment::show)),
        ("revoked", key.revoked_at.map(moment::show)),
    ])
}

fn thumbprint(key: &Credential) -> Option<String> {
    key.key.thumbprint().map(|thumbprint| KeyId::Thumbprint(thumbprint).to_string())
}

/// Where it is in its life, by this machine's clock.
fn state(key: &Credential) -> &'static str {
    match key.standing(moment::now()) {
        Standing::Expired => "expired",
        Standing::Active if key.state == State::Retiring => State::Retiring.as_str(),
        Standing::Active => State::Active.as_str(),
        Standing::Quarantined => State::Quarantined.as_str(),
        Standing::Revoked => State::Revoked.as_str(),
    }
}
