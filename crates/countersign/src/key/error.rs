/// Why a key or a key file cannot be used.
///
/// No variant carries any part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is empty.
    #[error("it is empty")]
    Empty,
    /// An unknown form.
    #[error("it is not a key in a known form (PKCS#8 or SPKI PEM, JWK, OpenSSH, pk_… or sk_…)")]
    UnknownForm,
    /// Several keys: the file leaves open which of them to use.
    #[error("it holds more than one key")]
    Several,
    /// The form is known; its content is broken.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A key of another kind than was asked for.
    #[error("it holds {found}; wanted is {wanted}")]
    WrongKind {
        /// The kind found.
        found: &'static str,
        /// The kind wanted.
        wanted: &'static str,
    },
    /// The private key is encrypted, and no passphrase was given.
    #[error("it is encrypted with a passphrase")]
    Encrypted,
    /// The private key is encrypted with an unsupported algorithm.
    #[error("it is encrypted with {0}, which is not read here")]
    UnreadCipher(&'static str),
    /// The passphrase does not open it.
    #[error("the passphrase does not decrypt it")]
    WrongPassphrase,
    /// Its encryption asks for more work than a key file is given here: 256 MiB, or about 15 s.
    #[error("opening it would take too much time or memory")]
    TooCostly,
    /// An HMAC secret below 32 bytes, or above 64.
    #[error("an HMAC secret has 32 to 64 bytes, this has {0}")]
    SecretLength(usize),
    /// An HMAC secret that shows less than 112 bits of randomness: words, digits, or a few repeated bytes.
    #[error(
        "the secret can be guessed: it is made of words or repeats itself, and no 32 random bytes"
    )]
    Guessable,
    /// A key whose private half is public.
    #[error("everybody has its private key, which is known from {0}")]
    Published(&'static str),
    /// An Ed25519 public key that is not a canonical point of prime order: a signature under it could be valid for many
    /// messages. Also an ECDSA key off its curve, and an RSA key of an unsafe size.
    #[error("the public key is weak: {0}")]
    Weak(&'static str),
    /// The private half does not belong to the public half beside it.
    #[error("its private and public halves do not belong together")]
    Mismatched,
    /// The proof that the holder of the public key has its private key is absent or wrong.
    #[error("the proof that its holder has the private key is {0}")]
    Unproven(&'static str),
}
