#[cfg(any(feature = "ecdsa", feature = "rsa"))]
use base64::{Engine, engine::general_purpose::STANDARD};
use ssh_key::{Error, Kdf, private::KeypairData, public::KeyData};
use zeroize::Zeroizing;

use super::{
    error::KeyError, passphrase::Passphrase, private::PrivateKey, publishable::PublishableKey,
    reads::Reads, verifying::VerifyingKey,
};

const MAGIC: &[u8] = b"openssh-key-v1\0";

const NO_PUBLIC_KEY: KeyError = KeyError::Damaged("it is no OpenSSH public key");

/// Whether this is a line as in `authorized_keys`.
pub(super) fn is_public(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| text.starts_with(prefix))
}

/// Whether this is such a line with options before the key, as `restrict ssh-ed25519 AAAA…`.
pub(super) fn is_public_with_options(text: &str) -> bool {
    let words = text.split_whitespace();
    words.clone().zip(words.skip(1)).any(|(name, key)| is_public(name) && key.starts_with("AAAA"))
}

pub(super) fn parse_public<T: Reads>(text: &str) -> Result<T, KeyError> {
    if let Some((_, found)) = kind(text.split([' ', '\t']).next().unwrap_or(text)) {
        return T::openssh_public(found, text);
    }
    let key = ssh_key::PublicKey::from_openssh(text).map_err(|_| NO_PUBLIC_KEY)?;
    match key.key_data() {
        KeyData::Ed25519(key) => VerifyingKey::ed25519(&key.0).map(T::of_public),
        _ => Err(KeyError::Damaged("its algorithm is not the one that it names")),
    }
}

/// Whether this is what an OpenSSH private key holds.
pub(super) fn is_private(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) fn parse_private<T: Reads>(
    bytes: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<T, KeyError> {
    let head = Head::read(bytes);
    let algorithm = head.as_ref().map(|head| head.algorithm.clone());
    let other = algorithm.as_deref().and_then(kind);
    if let Some((found, _)) = other
        && !algorithm.is_some_and(|name| T::reads_openssh(&name))
    {
        return T::wrong_kind(found);
    }
    if let Some(head) = &head {
        head.require_read_cipher()?;
    }
    let key = ssh_key::PrivateKey::from_bytes(bytes);
    let mut key = key.map_err(|_| KeyError::Damaged("it is no OpenSSH private key"))?;
    if key.is_encrypted() {
        match key.kdf() {
            Kdf::Bcrypt { rounds: 0, .. } => {
                return Err(KeyError::Damaged("the parameters of its encryption are invalid"));
            }
            Kdf::Bcrypt { rounds, .. } if *rounds > 1000 => return Err(KeyError::TooCostly),
            _ => {}
        }
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
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
                true => Ok(T::of_private(private)),
                false => Err(KeyError::Mismatched),
            }
        }
        (pair, Some((found, _))) => T::openssh_private(found, pair),
        _ => Err(KeyError::Damaged("its algorithm is not the one that it names")),
    }
}

/// What a private key says in the clear before the part that may be encrypted (openssh's `PROTOCOL.key`). Of a key that it does not
/// read, the library does not say what it is.
struct Head {
    cipher: String,
    kdf: String,
    algorithm: String,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let rest = bytes.strip_prefix(MAGIC)?;
        let (cipher, rest) = string(rest)?;
        let (kdf, rest) = string(rest)?;
        let (_kdf_options, rest) = string(rest)?;
        let (_number_of_keys, rest) = rest.split_first_chunk::<4>()?;
        let (_length, rest) = rest.split_first_chunk::<4>()?;
        let (algorithm, _) = string(rest)?;
        Some(Self { cipher: text(cipher)?, kdf: text(kdf)?, algorithm: text(algorithm)? })
    }

    /// The library says of a cipher that it does not have what it says of a wrong passphrase.
    fn require_read_cipher(&self) -> Result<(), KeyError> {
        let unread = match (self.cipher.as_str(), self.kdf.as_str()) {
            ("3des-cbc", _) => "triple DES",
            ("chacha20-poly1305@openssh.com", "bcrypt") => return Ok(()),
            ("none", "none") => return Ok(()),
            (name, "bcrypt") if name.starts_with("aes") => return Ok(()),
            _ => "an unknown algorithm",
        };
        Err(KeyError::UnreadCipher(unread))
    }
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
