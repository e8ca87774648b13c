use std::str::FromStr;

use zeroize::Zeroizing;

use super::{
    encoding, error::KeyError, file_text, jwk, openssh, passphrase::Passphrase, pem,
    private::PrivateKey, proven::ProvenKey, publishable::PublishableKey, reads::Reads,
    verifying::VerifyingKey,
};

const MAX_FILE: usize = 64 * 1024;

/// The key in a file of any form.
///
/// Reads PKCS#8 PEM (also encrypted), SPKI PEM, JWK (`OKP` with `Ed25519`, and `oct`), OpenSSH Ed25519 keys (also
/// encrypted), the one-line `sk_…` and `pk_…`, and the `.pub` file of [`ProvenKey::proof`]. Reads a JWK Set with a single
/// key.
///
/// Undoes everything that editors, shells and variables do to a file without losing any of it: line breaks that are gone,
/// or became blanks or `\n`; quotes; a byte order mark; UTF-16; text around a PEM block; comment lines.
///
/// ```
/// use countersign::KeyFile;
///
/// # let shop_key = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n";
/// let key = KeyFile::parse(shop_key, None)?.into_private()?; // the bytes of a file
/// assert!(key.publishable_key().to_string().starts_with("pk_"));
/// # Ok::<(), countersign::KeyError>(())
/// ```
#[derive(Debug)]
pub enum KeyFile {
    /// A private key.
    Private(PrivateKey),
    /// A public key.
    Public(VerifyingKey),
    /// The publishable key of an HMAC secret. It only names the secret.
    Named(PublishableKey),
}

impl KeyFile {
    /// Reads the content of a key file.
    ///
    /// # Errors
    ///
    /// A [`KeyError`]. It names a wrong kind of key, and asks for the passphrase of an encrypted one.
    pub fn parse(content: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        parse(content, passphrase)
    }

    /// The private key.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for a public key.
    pub fn into_private(self) -> Result<PrivateKey, KeyError> {
        let found = match self {
            Self::Private(key) => return Ok(key),
            Self::Public(_) => "a public key",
            Self::Named(_) => "the publishable key of an HMAC secret",
        };
        Err(KeyError::WrongKind { found, wanted: "a private key" })
    }

    /// The key that verifies its signatures.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] if it only names an HMAC secret.
    pub fn into_verifying_key(self) -> Result<VerifyingKey, KeyError> {
        match self {
            Self::Private(key) => Ok(key.verifying_key()),
            Self::Public(key) => Ok(key),
            Self::Named(key) => key.to_verifying_key(),
        }
    }

    /// The publishable half.
    pub fn publishable_key(&self) -> PublishableKey {
        match self {
            Self::Private(key) => key.publishable_key(),
            Self::Public(key) => key.publishable_key(),
            Self::Named(key) => *key,
        }
    }
}

impl Reads for KeyFile {
    const WANTED: &'static str = "an Ed25519 key or an HMAC-SHA256 secret";

    fn of_private(key: PrivateKey) -> Self {
        Self::Private(key)
    }

    fn of_public(key: VerifyingKey) -> Self {
        Self::Public(key)
    }

    fn of_named(key: PublishableKey) -> Self {
        Self::Named(key)
    }
}

pub(super) fn parse<T: Reads>(
    content: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<T, KeyError> {
    if content.len() > MAX_FILE {
        return Err(KeyError::Damaged("it is too large for a key"));
    }
    if let Some(parsed) = parse_bytes(content, passphrase) {
        return parsed;
    }
    let text = file_text::read(content)?;
    if text.is_empty() {
        Err(KeyError::Empty)
    } else if text.contains(pem::BEGIN) {
        pem::parse(&text, passphrase)
    } else if text.starts_with('{') {
        jwk::parse(&text)
    } else if let Some(body) = pem::bare_body(&text) {
        parse_bytes(&body, passphrase).unwrap_or(Err(KeyError::UnknownForm))
    } else {
        parse_lines(&text)
    }
}

/// The binary forms; `None` for other bytes.
fn parse_bytes<T: Reads>(
    bytes: &[u8],
    passphrase: Option<&Passphrase>,
) -> Option<Result<T, KeyError>> {
    let openssh = || openssh::is_private(bytes).then(|| openssh::parse_private(bytes, passphrase));
    pem::parse_der(bytes, passphrase).or_else(openssh)
}

/// The forms of a single line, and the three lines of a proof, with comments and other text after them.
fn parse_lines<T: Reads>(text: &str) -> Result<T, KeyError> {
    let lines: Vec<&str> = file_text::lines(text).collect();
    let words = || lines.iter().filter_map(|line| line.split_whitespace().next());
    let is_secret = |word: &&str| encoding::after_prefix(encoding::PRIVATE, word).is_some();
    let mut secrets = words().filter(is_secret);
    match (secrets.next(), secrets.next()) {
        (Some(_), Some(_)) => Err(KeyError::Several),
        (Some(word), None) => {
            let key: PrivateKey = whole(word, &lines)?;
            key.require_unguessable()?;
            Ok(T::of_private(key))
        }
        (None, _) if words().any(openssh::is_public) => openssh_public(&lines),
        (None, _) => public(&lines),
    }
}

/// A key that may be wrapped into several lines.
fn whole<K: FromStr<Err = KeyError>>(word: &str, lines: &[&str]) -> Result<K, KeyError> {
    let joined = || Zeroizing::new(lines.concat()).parse().ok();
    word.parse().or_else(|error| joined().ok_or(error))
}

fn public<T: Reads>(lines: &[&str]) -> Result<T, KeyError> {
    let first = lines.first().and_then(|line| line.split_whitespace().next());
    let read: Result<PublishableKey, KeyError> = match lines {
        [_] => first.ok_or(KeyError::UnknownForm)?.parse(),
        // A proof never fits into one line.
        _ => lines.concat().parse(),
    };
    match read {
        Ok(key) => Ok(key.to_verifying_key().map_or_else(|_| T::of_named(key), T::of_public)),
        Err(error) if lines.len() == 1 => Err(error),
        Err(_) => {
            let proven = ProvenKey::from_proof(&lines.join("\n"))?;
            Ok(T::of_public(proven.key().clone()))
        }
    }
}

fn openssh_public<T: Reads>(lines: &[&str]) -> Result<T, KeyError> {
    let has_key = |line: &&&str| openssh::is_public(line) || openssh::is_public_with_options(line);
    match lines.iter().filter(has_key).count() {
        1 => openssh::parse_public(&lines.concat()),
        _ => Err(KeyError::Several),
    }
}
