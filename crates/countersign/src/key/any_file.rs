#[cfg(any(feature = "ecdsa", feature = "rsa"))]
use pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
#[cfg(any(feature = "ecdsa", feature = "rsa"))]
use ssh_key::private::KeypairData;

#[cfg(feature = "ecdsa")]
use super::ecdsa::{self, EcdsaPrivateKey, EcdsaPublicKey};
#[cfg(feature = "rsa")]
use super::rsa::{self, RsaPublicKey};
use super::{
    any_private::AnyPrivateKey,
    any_verifying::AnyVerifyingKey,
    error::KeyError,
    file::{self, KeyFile},
    passphrase::Passphrase,
    private::PrivateKey,
    publishable::PublishableKey,
    reads::Reads,
    verifying::VerifyingKey,
};
#[cfg(any(feature = "ecdsa", feature = "rsa"))]
use super::{jwk::Jwk, openssh, pem};

/// The key in a file, whatever its form and its algorithm, for tools. Credentials are read by [`KeyFile`].
///
/// Beside what [`KeyFile`] reads, and as far as the features go: ECDSA keys on P-256 and P-384, and RSA keys, as PKCS#8
/// PEM (also encrypted), SPKI PEM, JWK and OpenSSH keys (also encrypted); ECDSA also as `EC PRIVATE KEY`; RSA also as PKCS#1 PEM.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyKeyFile {
    /// A private key.
    Private(AnyPrivateKey),
    /// A public key.
    Public(AnyVerifyingKey),
    /// The public half of an RSA private key, with which nothing is signed here: the library's operations with it are
    /// not constant-time (RUSTSEC-2023-0071).
    PublicHalf(AnyVerifyingKey),
    /// The publishable key of an HMAC secret, which only names it.
    Named(PublishableKey),
}

impl AnyKeyFile {
    /// Reads the content of a key file.
    ///
    /// # Errors
    ///
    /// A [`KeyError`]: a wrong kind of key is named, an encrypted one asks for its passphrase.
    pub fn parse(content: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        file::parse(content, passphrase)
    }

    /// The private key.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] if it is a public one, or one that is not signed with here.
    pub fn into_private(self) -> Result<AnyPrivateKey, KeyError> {
        let file = match self {
            Self::Private(key) => return Ok(key),
            Self::PublicHalf(_) => {
                return Err(KeyError::WrongKind {
                    found: "an RSA private key, whose operations here are not constant-time (RUSTSEC-2023-0071)",
                    wanted: "a private key of another algorithm",
                });
            }
            Self::Public(_) => "a public key",
            Self::Named(_) => "the publishable key of an HMAC secret",
        };
        Err(KeyError::WrongKind { found: file, wanted: "a private key" })
    }

    /// What signatures of this key are verified with.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] if it only names an HMAC secret.
    pub fn into_verifying_key(self) -> Result<AnyVerifyingKey, KeyError> {
        match self {
            Self::Private(key) => Ok(key.verifying_key()),
            Self::Public(key) | Self::PublicHalf(key) => Ok(key),
            Self::Named(key) => key.to_verifying_key().map(AnyVerifyingKey::from),
        }
    }
}

impl From<KeyFile> for AnyKeyFile {
    fn from(file: KeyFile) -> Self {
        match file {
            KeyFile::Private(key) => Self::Private(key.into()),
            KeyFile::Public(key) => Self::Public(key.into()),
            KeyFile::Named(key) => Self::Named(key),
        }
    }
}

impl Reads for AnyKeyFile {
    const WANTED: &'static str = match (cfg!(feature = "ecdsa"), cfg!(feature = "rsa")) {
        (true, true) => "an Ed25519, ECDSA or RSA key or an HMAC-SHA256 secret",
        (true, false) => "an Ed25519 or ECDSA key or an HMAC-SHA256 secret",
        (false, true) => "an Ed25519 or RSA key or an HMAC-SHA256 secret",
        (false, false) => KeyFile::WANTED,
    };

    fn of_private(key: PrivateKey) -> Self {
        Self::Private(key.into())
    }

    fn of_public(key: VerifyingKey) -> Self {
        Self::Public(key.into())
    }

    fn of_named(key: PublishableKey) -> Self {
        Self::Named(key)
    }

    #[cfg(any(feature = "ecdsa", feature = "rsa"))]
    fn spki(found: &'static str, info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        match info.algorithm.oid {
            #[cfg(feature = "ecdsa")]
            ecdsa::ID_EC_PUBLIC_KEY => EcdsaPublicKey::from_spki(info).map(Self::public),
            #[cfg(feature = "rsa")]
            rsa::RSA_ENCRYPTION | rsa::RSASSA_PSS => {
                RsaPublicKey::from_spki(info).map(Self::public)
            }
            _ => Self::wrong_kind(found),
        }
    }

    #[cfg(any(feature = "ecdsa", feature = "rsa"))]
    fn pkcs8(found: &'static str, info: &PrivateKeyInfoRef<'_>) -> Result<Self, KeyError> {
        match info.algorithm.oid {
            #[cfg(feature = "ecdsa")]
            ecdsa::ID_EC_PUBLIC_KEY => EcdsaPrivateKey::from_pkcs8(info).map(Self::private),
            #[cfg(feature = "rsa")]
            rsa::RSA_ENCRYPTION | rsa::RSASSA_PSS => RsaPublicKey::from_pkcs8(info).map(Self::half),
            _ => Self::wrong_kind(found),
        }
    }

    #[cfg(feature = "ecdsa")]
    fn sec1(_: &'static str, body: &str) -> Result<Self, KeyError> {
        EcdsaPrivateKey::from_sec1(&pem::der(body)?).map(Self::private)
    }

    #[cfg(feature = "rsa")]
    fn pkcs1_public(_: &'static str, body: &str) -> Result<Self, KeyError> {
        RsaPublicKey::from_pkcs1(&pem::der(body)?).map(Self::public)
    }

    #[cfg(feature = "rsa")]
    fn pkcs1_private(_: &'static str, body: &str) -> Result<Self, KeyError> {
        RsaPublicKey::from_pkcs1_private(&pem::der(body)?).map(Self::half)
    }

    #[cfg(any(feature = "ecdsa", feature = "rsa"))]
    fn jwk(found: &'static str, jwk: &Jwk) -> Result<Self, KeyError> {
        match jwk.kty.as_str() {
            #[cfg(feature = "ecdsa")]
            "EC" => Ok(match ecdsa::from_jwk(jwk)? {
                (_, Some(private)) => Self::private(private),
                (public, None) => Self::public(public),
            }),
            #[cfg(feature = "rsa")]
            "RSA" if jwk.d.is_some() => RsaPublicKey::from_jwk(jwk).map(Self::half),
            #[cfg(feature = "rsa")]
            "RSA" => RsaPublicKey::from_jwk(jwk).map(Self::public),
            _ => Self::wrong_kind(found),
        }
    }

    #[cfg(any(feature = "ecdsa", feature = "rsa"))]
    fn openssh_public(found: &'static str, text: &str) -> Result<Self, KeyError> {
        match text.split([' ', '\t']).next() {
            #[cfg(feature = "ecdsa")]
            Some(name) if name.starts_with("ecdsa-sha2-") => {
                let blob = openssh::blob(text)?;
                EcdsaPublicKey::from_openssh(&openssh::strings(text, &blob)?).map(Self::public)
            }
            #[cfg(feature = "rsa")]
            Some("ssh-rsa") => {
                let blob = openssh::blob(text)?;
                RsaPublicKey::from_openssh(&openssh::strings(text, &blob)?).map(Self::public)
            }
            _ => Self::wrong_kind(found),
        }
    }

    fn reads_openssh(algorithm: &str) -> bool {
        (cfg!(feature = "ecdsa") && algorithm.starts_with("ecdsa-sha2-"))
            || (cfg!(feature = "rsa") && algorithm == "ssh-rsa")
    }

    #[cfg(any(feature = "ecdsa", feature = "rsa"))]
    fn openssh_private(found: &'static str, pair: &KeypairData) -> Result<Self, KeyError> {
        match pair {
            #[cfg(feature = "ecdsa")]
            KeypairData::Ecdsa(pair) => EcdsaPrivateKey::from_openssh(pair).map(Self::private),
            #[cfg(feature = "rsa")]
            KeypairData::Rsa(pair) => RsaPublicKey::from_openssh_private(pair).map(Self::half),
            _ => Self::wrong_kind(found),
        }
    }
}

#[cfg(any(feature = "ecdsa", feature = "rsa"))]
impl AnyKeyFile {
    fn public(key: impl Into<AnyVerifyingKey>) -> Self {
        Self::Public(key.into())
    }

    #[cfg(feature = "ecdsa")]
    fn private(key: EcdsaPrivateKey) -> Self {
        Self::Private(key.into())
    }

    #[cfg(feature = "rsa")]
    fn half(key: RsaPublicKey) -> Self {
        Self::PublicHalf(key.into())
    }
}
