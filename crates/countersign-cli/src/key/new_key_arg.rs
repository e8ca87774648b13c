use std::path::Path;

use clap::Args;
use countersign::{Algorithm, KeyError, KeyFile, ProvenKey};

use crate::{
    failure::Failure,
    key_source::{self, PassphraseSource},
};

/// The file of a key that is registered.
#[derive(Args, Debug)]
pub(super) struct NewKeyArg {
    #[command(flatten)]
    file: NewKeyFile,
    /// How to open an encrypted HMAC secret
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Accept a public key without a proof that its sender has the private half: it may belong to somebody else
    #[arg(long, requires = "public_key")]
    insecure_unproven: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct NewKeyFile {
    /// The .pub file of an Ed25519 key; `-` is stdin
    #[arg(long, value_name = "FILE")]
    public_key: Option<String>,
    /// The file of an HMAC secret, which the server and the caller share
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<String>,
}

impl NewKeyArg {
    /// Reads the key, and the proof of its holder.
    pub(super) fn key(&self) -> Result<ProvenKey, Failure> {
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

    /// Returns a label: the name of the file.
    pub(super) fn label(&self) -> &str {
        let file = self.file.public_key.as_deref().or(self.file.hmac_key.as_deref());
        let name = file.and_then(|file| Path::new(file).file_prefix()?.to_str());
        name.filter(|&name| name != "-").unwrap_or("key")
    }
}
