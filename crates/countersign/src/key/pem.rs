use ed25519_dalek::pkcs8::{KeypairBytes, PublicKeyBytes};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    SubjectPublicKeyInfoRef,
    pkcs5::{EncryptionScheme, pbes2::Kdf},
};
use zeroize::Zeroizing;

use super::{KeyError, KeyFile, Passphrase, PrivateKey, VerifyingKey, file::WANTED, openssh};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads one PEM block (RFC 7468).
pub(super) fn parse(text: &str, passphrase: Option<&Passphrase>) -> Result<KeyFile, KeyError> {
    if text.matches("-----BEGIN ").count() > 1 {
        return Err(KeyError::Damaged("it holds more than one key"));
    }
    let wrong = |found| Err(KeyError::WrongKind { found, wanted: WANTED });
    match label(text).ok_or(KeyError::Damaged("its PEM label is cut off"))? {
        "PRIVATE KEY" => private(der(text)?.as_bytes()),
        "ENCRYPTED PRIVATE KEY" => encrypted(der(text)?.as_bytes(), passphrase),
        "PUBLIC KEY" => public(der(text)?.as_bytes()),
        "OPENSSH PRIVATE KEY" => openssh::parse_private(text, passphrase).map(KeyFile::Private),
        "RSA PRIVATE KEY" => wrong("an RSA private key"),
        "RSA PUBLIC KEY" => wrong("an RSA public key"),
        "EC PRIVATE KEY" | "EC PARAMETERS" => wrong("an elliptic-curve (ECDSA) private key"),
        "DSA PRIVATE KEY" => wrong("a DSA private key"),
        "CERTIFICATE" => wrong("a certificate"),
        "CERTIFICATE REQUEST" => wrong("a certificate request"),
        _ => wrong("something else in PEM form"),
    }
}

fn label(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

fn der(text: &str) -> Result<SecretDocument, KeyError> {
    let document = SecretDocument::from_pem(text);
    document.map(|(_, der)| der).map_err(|_| KeyError::Damaged("its PEM is broken"))
}

fn private(der: &[u8]) -> Result<KeyFile, KeyError> {
    let info = PrivateKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no PKCS#8 private key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a private key of another algorithm", |kind| kind.0);
        return Err(KeyError::WrongKind { found, wanted: WANTED });
    }
    let pair = KeypairBytes::try_from(info);
    let pair = pair.map_err(|_| KeyError::Damaged("it is no Ed25519 private key"))?;
    let seed = Zeroizing::new(pair.secret_key);
    let key = PrivateKey::ed25519(&seed);
    // A signer that believed a public half from outside could be made to give its private one away.
    match pair.public_key {
        Some(PublicKeyBytes(public)) if key.publishable_key().as_bytes() != public => {
            Err(KeyError::Mismatched)
        }
        _ => Ok(KeyFile::Private(key)),
    }
}

fn encrypted(der: &[u8], passphrase: Option<&Passphrase>) -> Result<KeyFile, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no encrypted PKCS#8 private key"))?;
    let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        return Err(KeyError::Damaged("it is encrypted in an outdated way (PBES1)"));
    };
    // What the file asks for is bounded to seconds, and to 256 MiB of memory.
    let bearable = match &scheme.kdf {
        Kdf::Pbkdf2(params) => params.iteration_count <= 10_000_000,
        Kdf::Scrypt(params) => {
            let memory = params.cost_parameter.checked_mul(u64::from(params.block_size));
            let memory = memory.and_then(|blocks| blocks.checked_mul(128));
            memory.is_some_and(|bytes| bytes <= 256 << 20) && params.parallelization <= 16
        }
        _ => false,
    };
    if !bearable {
        return Err(KeyError::Damaged("opening it would take too much time or memory"));
    }
    let opened = info.decrypt(passphrase.as_bytes()).map_err(|_| KeyError::WrongPassphrase)?;
    private(opened.as_bytes())
}

fn public(der: &[u8]) -> Result<KeyFile, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no SPKI public key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a public key of another algorithm", |kind| kind.1);
        return Err(KeyError::WrongKind { found, wanted: WANTED });
    }
    let damaged = KeyError::Damaged("it is no Ed25519 public key");
    if info.algorithm.parameters.is_some() {
        return Err(damaged);
    }
    let bytes = info.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
    VerifyingKey::ed25519(bytes.ok_or(damaged)?).map(KeyFile::Public)
}

/// What keys of other algorithms are called: the private, and the public one.
fn kind(algorithm: &ObjectIdentifier) -> Option<(&'static str, &'static str)> {
    match algorithm.to_string().as_str() {
        "1.2.840.113549.1.1.1" => Some(("an RSA private key", "an RSA public key")),
        "1.2.840.113549.1.1.10" => Some(("an RSA-PSS private key", "an RSA-PSS public key")),
        "1.2.840.10045.2.1" => {
            Some(("an elliptic-curve (ECDSA) private key", "an elliptic-curve (ECDSA) public key"))
        }
        "1.2.840.10040.4.1" => Some(("a DSA private key", "a DSA public key")),
        "1.3.101.110" => Some(("an X25519 private key", "an X25519 public key")),
        "1.3.101.111" => Some(("an X448 private key", "an X448 public key")),
        "1.3.101.113" => Some(("an Ed448 private key", "an Ed448 public key")),
        _ => None,
    }
}
