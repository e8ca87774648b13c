use ed25519_dalek::pkcs8::{KeypairBytes, PublicKeyBytes};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    SubjectPublicKeyInfoRef,
    der::{ErrorKind, Tag},
    pkcs5::{
        self, EncryptionScheme,
        pbes2::{Kdf, Pbkdf2Prf},
    },
};
use zeroize::Zeroizing;

use super::{KeyError, KeyFile, Passphrase, PrivateKey, VerifyingKey, file::Reads, openssh};

const NO_PKCS8: KeyError = KeyError::Damaged("it is no encrypted PKCS#8 private key");
const INVALID: KeyError = KeyError::Damaged("the parameters of its encryption are invalid");
const UNKNOWN: &str = "an unknown algorithm";

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads one PEM block (RFC 7468).
pub(super) fn parse<T: Reads>(text: &str, passphrase: Option<&Passphrase>) -> Result<T, KeyError> {
    // `openssl ecparam -genkey` writes the curve into a block of its own, before the key, which says it once more.
    let text = match text.split_once("-----END EC PARAMETERS-----") {
        Some((parameters, key)) if parameters.starts_with("-----BEGIN EC PARAMETERS-----") => key,
        _ => text,
    };
    if text.matches("-----BEGIN ").count() > 1 {
        return Err(KeyError::Damaged("it holds more than one key"));
    }
    match label(text).ok_or(KeyError::Damaged("its PEM label is cut off"))? {
        "PRIVATE KEY" => private(der(text)?.as_bytes()),
        "ENCRYPTED PRIVATE KEY" => encrypted(der(text)?.as_bytes(), passphrase),
        "PUBLIC KEY" => public(der(text)?.as_bytes()),
        "OPENSSH PRIVATE KEY" => openssh::parse_private(text, passphrase),
        "RSA PRIVATE KEY" => T::pkcs1_private("an RSA private key", text),
        "RSA PUBLIC KEY" => T::pkcs1_public("an RSA public key", text),
        "EC PRIVATE KEY" => T::sec1("an elliptic-curve (ECDSA) private key", text),
        "DSA PRIVATE KEY" => T::wrong_kind("a DSA private key"),
        "CERTIFICATE" => T::wrong_kind("a certificate"),
        "CERTIFICATE REQUEST" => T::wrong_kind("a certificate request"),
        _ => T::wrong_kind("something else in PEM form"),
    }
}

fn label(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

pub(super) fn der(text: &str) -> Result<SecretDocument, KeyError> {
    if text.contains("\nProc-Type: 4,ENCRYPTED") {
        return Err(KeyError::UnreadCipher("the encryption of RFC 1421"));
    }
    let document = SecretDocument::from_pem(text.trim());
    document.map(|(_, der)| der).map_err(|_| KeyError::Damaged("its PEM is broken"))
}

fn private<T: Reads>(der: &[u8]) -> Result<T, KeyError> {
    let info = PrivateKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no PKCS#8 private key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a private key of another algorithm", |kind| kind.0);
        return T::pkcs8(found, &info);
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
        _ => Ok(KeyFile::Private(key).into()),
    }
}

fn encrypted<T: Reads>(der: &[u8], passphrase: Option<&Passphrase>) -> Result<T, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| {
        let pkcs8::Error::Asn1(error) = error else { return NO_PKCS8 };
        match error.kind() {
            ErrorKind::OidUnknown { oid } => KeyError::UnreadCipher(cipher(&oid)),
            // What the library says of every scheme that is neither PBES1 nor PBES2.
            ErrorKind::Value { tag: Tag::ObjectIdentifier } => KeyError::UnreadCipher(UNKNOWN),
            _ => NO_PKCS8,
        }
    })?;
    check_cost(&info.encryption_algorithm)?;
    let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
    let opened = info.decrypt(passphrase.as_bytes()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { oid }) => {
            KeyError::UnreadCipher(cipher(&oid))
        }
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::AlgorithmParametersInvalid { .. }) => {
            INVALID
        }
        _ => KeyError::WrongPassphrase,
    })?;
    private(opened.as_bytes())
}

/// Bounds what the file asks for to seconds, and to 256 MiB of memory.
fn check_cost(scheme: &EncryptionScheme) -> Result<(), KeyError> {
    let EncryptionScheme::Pbes2(scheme) = scheme else {
        return Err(KeyError::UnreadCipher(cipher(&scheme.oid())));
    };
    let (valid, bearable) = match &scheme.kdf {
        Kdf::Pbkdf2(params) if params.prf == Pbkdf2Prf::HmacWithSha1 => {
            return Err(KeyError::UnreadCipher(cipher(&params.prf.oid())));
        }
        Kdf::Pbkdf2(params) => (params.iteration_count > 0, params.iteration_count <= 10_000_000),
        Kdf::Scrypt(params) => {
            // RFC 7914 §2. The library takes the logarithm of N before it looks at it.
            let (n, r, p) = (params.cost_parameter, params.block_size, params.parallelization);
            let memory = n.checked_mul(u64::from(r)).and_then(|blocks| blocks.checked_mul(128));
            (
                n > 1 && n.is_power_of_two() && r > 0 && p > 0,
                memory.is_some_and(|bytes| bytes <= 256 << 20) && p <= 16,
            )
        }
        _ => return Err(KeyError::UnreadCipher(cipher(&scheme.kdf.oid()))),
    };
    match (valid, bearable) {
        (true, true) => Ok(()),
        (true, false) => Err(KeyError::Damaged("opening it would take too much time or memory")),
        (false, _) => Err(INVALID),
    }
}

/// What ways of encryption that are not read here are called.
///
/// openssl has encrypted with AES and HMAC-SHA-256 for as long as it has known Ed25519, unless it was told otherwise. With
/// its feature for triple DES, the library panics on an initialisation vector that is too short.
fn cipher(algorithm: &ObjectIdentifier) -> &'static str {
    match algorithm.to_string().as_str() {
        "1.2.840.113549.3.7" => "triple DES",
        "1.2.840.113549.2.7" => "a key derived by HMAC-SHA-1",
        oid if oid.starts_with("1.2.840.113549.1.5.") => "PBES1",
        _ => UNKNOWN,
    }
}

fn public<T: Reads>(der: &[u8]) -> Result<T, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der);
    let info = info.map_err(|_| KeyError::Damaged("it is no SPKI public key"))?;
    if info.algorithm.oid != ED25519 {
        let found =
            kind(&info.algorithm.oid).map_or("a public key of another algorithm", |kind| kind.1);
        return T::spki(found, &info);
    }
    let damaged = KeyError::Damaged("it is no Ed25519 public key");
    if info.algorithm.parameters.is_some() {
        return Err(damaged);
    }
    let bytes = info.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
    VerifyingKey::ed25519(bytes.ok_or(damaged)?).map(|key| KeyFile::Public(key).into())
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
