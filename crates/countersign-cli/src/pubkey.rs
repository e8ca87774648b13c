use clap::Args;
use countersign::{AnyKeyFile, AnyPrivateKey, AnyVerifyingKey, KeyId, ProvenKey, PublishableKey};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    key_source::{self, PassphraseSource},
    output::{print, print_line},
};

/// Prints the publishable key of any key file, and on a second line the JWK thumbprint of an Ed25519 key
///
/// An ECDSA or RSA key has no publishable key: only its thumbprint is printed.
#[derive(Args, Debug)]
pub(crate) struct Pubkey {
    /// A private or public key file; `-` is stdin, fd:N a descriptor
    file: String,
    /// Print the content of FILE.pub: the publishable key with the proof that registration asks for. Needs the
    /// private key
    #[arg(long)]
    prove: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Pubkey {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let source = key_source::source(&self.file)?;
        if self.prove {
            let key = source.read_private(&self.passphrase)?;
            let proof = ProvenKey::proof(&key).map_err(|error| {
                Failure::local(
                    format!("cannot prove {source}: {error}"),
                    "register the secret itself: `countersign key add --hmac-key FILE`",
                )
            })?;
            if self.json {
                let publishable = key.publishable_key().to_string();
                print_line(json!({ "publishable_key": publishable, "proof": proof }))?;
            } else {
                print(proof)?;
            }
            return Ok(Exit::Done);
        }
        let (publishable, key) = halves(source.read_any(&self.passphrase)?);
        let thumbprint = key.as_ref().and_then(AnyVerifyingKey::thumbprint);
        let thumbprint = thumbprint.map(|digest| KeyId::Thumbprint(digest).to_string());
        if self.json {
            let own = publishable.map(|publishable| publishable.algorithm());
            let algorithm = own.or_else(|| key.as_ref().and_then(AnyVerifyingKey::algorithm));
            print_line(json!({
                "publishable_key": publishable.map(|publishable| publishable.to_string()),
                "alg": algorithm.map(|algorithm| algorithm.as_str()),
                "thumbprint": thumbprint,
            }))?;
        } else {
            if let Some(publishable) = publishable {
                print_line(publishable)?;
            }
            if let Some(thumbprint) = thumbprint {
                print_line(thumbprint)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The publishable key of a credential, and the verifying key if the file has it.
fn halves(file: AnyKeyFile) -> (Option<PublishableKey>, Option<AnyVerifyingKey>) {
    let publishable = match &file {
        AnyKeyFile::Private(AnyPrivateKey::Credential(key)) => Some(key.publishable_key()),
        AnyKeyFile::Public(AnyVerifyingKey::Credential(key)) => Some(key.publishable_key()),
        AnyKeyFile::Named(key) => Some(*key),
        _ => None,
    };
    (publishable, file.into_verifying_key().ok())
}
