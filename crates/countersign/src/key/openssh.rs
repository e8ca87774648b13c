use base64::{Engine, engine::general_purpose::STANDARD};
use ssh_key::{Error, Kdf, private::KeypairData, public::KeyData};
use zeroize::Zeroizing;

use super::{KeyError, KeyFile, Passphrase, PrivateKey, PublishableKey, VerifyingKey, file::Reads};

const NO_PUBLIC_KEY: KeyError = KeyError::Damaged("it is no OpenSSH public key");

/// Whether this is a line as in `authorized_keys`.
pub(super) fn is_public(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| text.starts_with(prefix))
}

pub(super) fn parse_public<T: Reads>(text: &str) -> Result<T, KeyError> {
    if let Some((_, found)) = kind(text.split([' ', '\t']).next().unwrap_or(text)) {
        return T::openssh_public(found, text);
    }
    let key = ssh_key::PublicKey::from_openssh(text).map_err(|_| NO_PUBLIC_KEY)?;
    match key.key_data() {
        KeyData::Ed25519(key) => {
            VerifyingKey::ed25519(&key.0).map(|key| KeyFile::Public(key).into())
        }
        _ => Err(KeyError::Damaged("its algorithm is not the one that it names")),
    }
}

pub(super) fn parse_private<T: Reads>(
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<T, KeyError> {
    let algorithm = algorithm(text);
    let other = algorithm.as_deref().and_then(kind);
    if let Some((found, _)) = other
        && !algorithm.is_some_and(|name| T::reads_openssh(&name))
    {
        return T::wrong_kind(found);
    }
    let key = ssh_key::PrivateKey::from_openssh(text);
    let mut key = key.map_err(|_| KeyError::Damaged("it is no OpenSSH private key"))?;
    if key.is_encrypted() {
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
        if matches!(key.kdf(), Kdf::Bcrypt { rounds, .. } if *rounds > 1000) {
            return Err(KeyError::Damaged("opening it would take too much time or memory"));
        }
        key = key.decrypt(passphrase.as_bytes()).map_err(|error| match error {
            Error::AlgorithmUnsupported { .. } => KeyError::UnreadCipher("an unknown algorithm"),
            _ => KeyError::WrongPassphrase,
        })?;
    }
    // The public half stands before what is encrypted, and once more within.
    if KeyData::try_from(key.key_data()).as_ref() != Ok(key.public_key().key_data()) {
        return Err(KeyError::Mismatched);
    }
    match (key.key_data(), other) {
        (KeypairData::Ed25519(pair), _) => {
            let private = PrivateKey::ed25519(&Zeroizing::new(pair.private.to_bytes()));
            match private.publishable_key() == PublishableKey::ed25519(pair.public.0) {
                true => Ok(KeyFile::Private(private).into()),
                false => Err(KeyError::Mismatched),
            }
        }
        (pair, Some((found, _))) => T::openssh_private(found, pair),
        _ => Err(KeyError::Damaged("its algorithm is not the one that it names")),
    }
}

/// The algorithm of a private key, which is named in the clear before the part that may be encrypted (openssh's
/// `PROTOCOL.key`). Of a key that it does not read, the library does not say what it is.
fn algorithm(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let (digits, _) = rest.split_once("-----")?;
    // 135 bytes: past the longest name, and before any private half.
    let digits: String = digits.chars().filter(|digit| !digit.is_whitespace()).take(180).collect();
    let bytes = STANDARD.decode(digits).ok()?;
    let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (_cipher, rest) = string(rest)?;
    let (_kdf, rest) = string(rest)?;
    let (_kdf_options, rest) = string(rest)?;
    let (_number_of_keys, rest) = rest.split_first_chunk::<4>()?;
    let (_length, rest) = rest.split_first_chunk::<4>()?;
    let (name, _) = string(rest)?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}

/// A `string` (RFC 4251 §5), and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The second word of a line as in `authorized_keys`.
#[cfg(any(feature = "ecdsa", feature = "rsa"))]
pub(super) fn blob(line: &str) -> Result<Vec<u8>, KeyError> {
    let digits = line.split_ascii_whitespace().nth(1).ok_or(NO_PUBLIC_KEY)?;
    STANDARD.decode(digits).map_err(|_| NO_PUBLIC_KEY)
}

/// The strings that the second word is made of; a number is one too. The first is the first word once more.
#[cfg(any(feature = "ecdsa", feature = "rsa"))]
pub(super) fn strings<'b>(line: &str, mut bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, KeyError> {
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let (first, rest) = string(bytes).ok_or(NO_PUBLIC_KEY)?;
        strings.push(first);
        bytes = rest;
    }
    if strings.first().copied() != line.split_ascii_whitespace().next().map(str::as_bytes) {
        return Err(KeyError::Damaged("its algorithm is not the one that it names"));
    }
    Ok(strings)
}

/// What keys of other algorithms are called: the private, and the public one.
fn kind(algorithm: &str) -> Option<(&'static str, &'static str)> {
    match algorithm {
        "ssh-ed25519" => None,
        "ssh-rsa" => Some(("an RSA private key", "an RSA public key")),
        "ssh-dss" => Some(("a DSA private key", "a DSA public key")),
        name if name.starts_with("ecdsa-") => {
            Some(("an elliptic-curve (ECDSA) private key", "an elliptic-curve (ECDSA) public key"))
        }
        name if name.starts_with("sk-") => {
            Some(("the private key of a security token", "the public key of a security token"))
        }
        _ => Some((
            "an OpenSSH private key of another algorithm",
            "an OpenSSH public key of another algorithm",
        )),
    }
}
