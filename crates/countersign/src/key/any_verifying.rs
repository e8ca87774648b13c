#[cfg(feature = "ecdsa")]
use super::ecdsa::EcdsaPublicKey;
#[cfg(feature = "rsa")]
use super::rsa::RsaPublicKey;
use super::{bad_signature::BadSignature, error::KeyError, verifying::VerifyingKey};
use crate::algorithm::{Algorithm, UnknownAlgorithm};

/// A verifying key of any algorithm of RFC 9421, for tools that look at messages of others.
///
/// A server never gets one: [`Unverified::verify`](crate::Unverified::verify) takes the [`VerifyingKey`] of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyVerifyingKey {
    /// Ed25519 or HMAC-SHA256, as credentials have.
    Credential(VerifyingKey),
    /// ECDSA.
    #[cfg(feature = "ecdsa")]
    Ecdsa(EcdsaPublicKey),
    /// RSA.
    #[cfg(feature = "rsa")]
    Rsa(RsaPublicKey),
}

impl AnyVerifyingKey {
    /// The algorithm of this key; `None` for an RSA key that leaves open which of two it is for.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Credential(key) => Some(key.algorithm()),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => Some(key.algorithm()),
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => key.algorithm(),
        }
    }

    /// The key for this algorithm alone. Only an RSA key has a choice.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] if the key is not for this algorithm.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        match self {
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => key.with_algorithm(algorithm).map(Self::Rsa),
            key if key.algorithm() == Some(algorithm) => Ok(key),
            key => Err(KeyError::WrongKind {
                found: key.algorithm().map_or("a key", Algorithm::as_str),
                wanted: algorithm.as_str(),
            }),
        }
    }

    /// The RFC 7638 JWK thumbprint (SHA-256); `None` for an HMAC secret, as
    /// [`PublishableKey::thumbprint`](crate::PublishableKey::thumbprint).
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        match self {
            Self::Credential(key) => key.thumbprint(),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => Some(key.thumbprint()),
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => Some(key.thumbprint()),
        }
    }

    /// Checks a signature over `base` by the key's algorithm. With an unknown algorithm no signature is valid.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(&self, base: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self {
            Self::Credential(key) => key.verify(base, signature),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => key.verify(base, signature),
            #[cfg(feature = "rsa")]
            Self::Rsa(key) => key.verify(base, signature),
        }
    }
}

impl From<VerifyingKey> for AnyVerifyingKey {
    fn from(key: VerifyingKey) -> Self {
        Self::Credential(key)
    }
}

impl From<&VerifyingKey> for AnyVerifyingKey {
    fn from(key: &VerifyingKey) -> Self {
        Self::Credential(key.clone())
    }
}

#[cfg(feature = "ecdsa")]
impl From<EcdsaPublicKey> for AnyVerifyingKey {
    fn from(key: EcdsaPublicKey) -> Self {
        Self::Ecdsa(key)
    }
}

#[cfg(feature = "rsa")]
impl From<RsaPublicKey> for AnyVerifyingKey {
    fn from(key: RsaPublicKey) -> Self {
        Self::Rsa(key)
    }
}

/// A key for [`Candidate`](crate::Candidate), of any kind. You cannot implement it.
pub trait Verifies: sealed::VerifiesBeside {}

impl Verifies for VerifyingKey {}
impl Verifies for AnyVerifyingKey {}

/// The `alg` of a message, if present.
pub(crate) type Named = Option<Result<Algorithm, UnknownAlgorithm>>;

pub(crate) mod sealed {
    use super::{BadSignature, Named};

    pub trait VerifiesBeside {
        /// Checks a signature with this `alg`. The key decides; an unknown name never agrees (RFC 9421 §7.3.6).
        fn verify_beside(
            &self,
            named: Named,
            base: &[u8],
            signature: &[u8],
        ) -> Result<(), BadSignature>;
    }
}

impl sealed::VerifiesBeside for VerifyingKey {
    fn verify_beside(
        &self,
        named: Named,
        base: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        // Verifies in either case, so that the time does not tell which it was.
        let held = self.verify(base, signature);
        let agrees = named.is_none_or(|algorithm| algorithm == Ok(self.algorithm()));
        if agrees { held } else { Err(BadSignature) }
    }
}

impl sealed::VerifiesBeside for AnyVerifyingKey {
    fn verify_beside(
        &self,
        named: Named,
        base: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        match (self, named) {
            (Self::Credential(key), _) => key.verify_beside(named, base, signature),
            #[cfg(any(feature = "ecdsa", feature = "rsa"))]
            (_, None) => self.verify(base, signature),
            #[cfg(any(feature = "ecdsa", feature = "rsa"))]
            (_, Some(Err(UnknownAlgorithm))) => Err(BadSignature),
            // An RSA key without an algorithm agrees with RSA's two.
            #[cfg(any(feature = "ecdsa", feature = "rsa"))]
            (_, Some(Ok(algorithm))) => {
                let key = self.clone().with_algorithm(algorithm).map_err(|_| BadSignature)?;
                key.verify(base, signature)
            }
        }
    }
}
