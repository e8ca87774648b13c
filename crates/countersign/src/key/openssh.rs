use ssh_key::{Error, Kdf, private::KeypairData, public::KeyData};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, PrivateKey, PublishableKey, VerifyingKey, file::WANTED};

/// Whether this is a line as in `authorized_keys`.
pub(super) fn is_public(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| text.starts_with(prefix))
}

pub(super) fn parse_public(text: &str) -> Result<VerifyingKey, KeyError> {
    let found = match text.split([' ', '\t']).next().unwrap_or(text) {
        "ssh-ed25519" => None,
        "ssh-rsa" => Some("an RSA public key"),
        "ssh-dss" => Some("a DSA public key"),
        name if name.starts_with("ecdsa-") => Some("an elliptic-curve (ECDSA) public key"),
        name if name.starts_with("sk-") => Some("the public key of a security token"),
        _ => Some("an OpenSSH key of another algorithm"),
    };
    if let Some(found) = found {
        return Err(KeyError::WrongKind { found, wanted: WANTED });
    }
    let key = ssh_key::PublicKey::from_openssh(text);
    let key = key.map_err(|_| KeyError::Damaged("it is no OpenSSH public key"))?;
    match key.key_data() {
        KeyData::Ed25519(key) => VerifyingKey::ed25519(&key.0),
        _ => Err(KeyError::Damaged("its algorithm is not the one that it names")),
    }
}

pub(super) fn parse_private(
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<PrivateKey, KeyError> {
    let damaged = KeyError::Damaged("it is no OpenSSH private key");
    let mut key = ssh_key::PrivateKey::from_openssh(text).map_err(|_| damaged.clone())?;
    if key.is_encrypted() {
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
        if matches!(key.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds > 1000) {
            return Err(KeyError::Damaged("opening it would take too much time or memory"));
        }
        key = key.decrypt(passphrase.as_bytes()).map_err(|error| match error {
            Error::AlgorithmUnsupported { .. } => {
                KeyError::Damaged("it is encrypted with a cipher that is not read here")
            }
            _ => KeyError::WrongPassphrase,
        })?;
    }
    match key.key_data() {
        KeypairData::Ed25519(pair) => {
            let private = PrivateKey::ed25519(&Zeroizing::new(pair.private.to_bytes()));
            let public = PublishableKey::ed25519(pair.public.0);
            let outer = match key.public_key().key_data() {
                KeyData::Ed25519(outer) => outer.0 == pair.public.0,
                _ => false,
            };
            match private.publishable_key() == public && outer {
                true => Ok(private),
                false => Err(KeyError::Mismatched),
            }
        }
        _ => {
            let found = "an OpenSSH private key of another algorithm";
            Err(KeyError::WrongKind { found, wanted: WANTED })
        }
    }
}
