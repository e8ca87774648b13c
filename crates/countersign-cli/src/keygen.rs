use std::{fs, path::PathBuf};

use clap::Args;
use countersign::{Algorithm, PrivateKey, ProvenKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure},
    new_file::create,
    output::{note, print_line},
    random,
    shell::quote,
};

/// Makes a key: FILE (mode 600), and for Ed25519 FILE.pub with the proof for its registration
///
/// Prints the publishable key. An Ed25519 key is written as PKCS#8 PEM, which openssl reads too; an HMAC secret as a
/// line `sk_…`. Neither file is ever overwritten.
#[derive(Args, Debug)]
pub(crate) struct Keygen {
    /// ed25519, or hmac-sha256 for callers that cannot do asymmetric keys
    #[arg(long, default_value = "ed25519", value_parser = parse_algorithm)]
    alg: Algorithm,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "countersign.key")]
    out: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.out.as_os_str() == "-" {
            return Err(Failure::local(
                "a private key is not written to stdout",
                "name a file with --out; `./-` is one of that name",
            ));
        }
        let key = generate(self.alg)?;
        let (content, proof) = match self.alg {
            Algorithm::HmacSha256 => {
                let mut line = Zeroizing::new(String::with_capacity(256));
                line.push_str(&key.expose_text());
                line.push('\n');
                (line, None)
            }
            _ => {
                let content = key.expose_pkcs8_pem().map_err(|error| internal(&error))?;
                (content, Some(ProvenKey::proof(&key).map_err(|error| internal(&error))?))
            }
        };
        let public_file = self.out.with_added_extension("pub");
        create(&self.out, 0o600, content.as_bytes())?;
        if let Some(proof) = &proof
            && let Err(failure) = create(&public_file, 0o644, proof.as_bytes())
        {
            // Half a pair would block the next attempt. This run created the file, so it may remove it.
            drop(fs::remove_file(&self.out));
            return Err(failure);
        }
        let publishable = key.publishable_key();
        let printed = if self.json {
            let public_file = proof.as_ref().map(|_| public_file.display().to_string());
            print_line(json!({
                "publishable_key": publishable.to_string(),
                "alg": self.alg.as_str(),
                "file": self.out.display().to_string(),
                "public_file": public_file,
            }))
        } else {
            print_line(publishable)
        };
        printed.map_err(|failure| {
            let file = quote(&self.out.display().to_string());
            failure.with_hint(format_args!(
                "the key was made; `countersign pubkey {file}` prints its publishable key"
            ))
        })?;
        match proof {
            Some(_) => note(format_args!(
                "{} signs and stays with you; register {}",
                self.out.display(),
                public_file.display()
            )),
            None => note(format_args!(
                "an HMAC secret has no public half, so there is no .pub file: {} itself is registered",
                self.out.display()
            )),
        }
        Ok(Exit::Done)
    }
}

/// Parses an algorithm of credentials.
fn parse_algorithm(name: &str) -> Result<Algorithm, &'static str> {
    match name.parse() {
        Ok(algorithm @ (Algorithm::Ed25519 | Algorithm::HmacSha256)) => Ok(algorithm),
        _ => Err("a credential is of ed25519 or hmac-sha256"),
    }
}

fn generate(algorithm: Algorithm) -> Result<PrivateKey, Failure> {
    let mut secret = Zeroizing::new([0; 32]);
    random::fill(&mut *secret)?;
    if algorithm == Algorithm::HmacSha256 {
        return PrivateKey::hmac_sha256(random::bytes()?, &*secret)
            .map_err(|error| internal(&error));
    }
    Ok(PrivateKey::ed25519(&secret))
}

fn internal(error: &dyn std::error::Error) -> Failure {
    Failure::local(
        format!("cannot write the new key: {error}"),
        "this is a fault of this program; please report it",
    )
}
