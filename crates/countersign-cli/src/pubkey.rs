use clap::Args;
use countersign::{KeyFile, KeyId, ProvenKey, PublishableKey};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    key_source::{self, PassphraseSource},
    output::{print, print_line},
};

/// Prints the publishable key of any key file, and on a second line the JWK thumbprint of an Ed25519 key
#[derive(Args, Debug)]
pub(crate) struct Pubkey {
    /// A private or public key file; `-` is stdin, fd:N a descriptor
    file: String,
    /// Print what FILE.pub holds: the publishable key with the proof that registers it. Needs the private key
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
        let file = source.read(&self.passphrase)?;
        let publishable = file.publishable_key();
        let thumbprint = thumbprint(&file, publishable).map(|id| id.to_string());
        if self.json {
            print_line(json!({
                "publishable_key": publishable.to_string(),
                "alg": publishable.algorithm().as_str(),
                "thumbprint": thumbprint,
            }))?;
        } else {
            print_line(publishable)?;
            if let Some(thumbprint) = thumbprint {
                print_line(thumbprint)?;
            }
        }
        Ok(Exit::Done)
    }
}

fn thumbprint(file: &KeyFile, publishable: PublishableKey) -> Option<KeyId> {
    let key = match file {
        KeyFile::Private(key) => Some(key.verifying_key()),
        KeyFile::Public(key) => Some(key.clone()),
        KeyFile::Named(_) => publishable.to_verifying_key().ok(),
    };
    key?.thumbprint().map(KeyId::Thumbprint)
}
