#[cfg(feature = "ecdsa")]
use super::ecdsa::EcdsaPrivateKey;
use super::{any_verifying::AnyVerifyingKey, private::PrivateKey};
use crate::algorithm::Algorithm;

/// A private key of any algorithm that this crate signs with, for tools. RSA keys only verify.
///
/// A [`Signer`](crate::Signer) takes the [`PrivateKey`] of a credential.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyPrivateKey {
    /// Ed25519 or HMAC-SHA256, as credentials have.
    Credential(PrivateKey),
    /// ECDSA.
    #[cfg(feature = "ecdsa")]
    Ecdsa(EcdsaPrivateKey),
}

impl AnyPrivateKey {
    /// The algorithm of this key.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Credential(key) => key.algorithm(),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => key.algorithm(),
        }
    }

    /// The key that verifies its signatures.
    pub fn verifying_key(&self) -> AnyVerifyingKey {
        match self {
            Self::Credential(key) => key.verifying_key().into(),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => key.public_key().into(),
        }
    }

    /// Signs a signature base.
    pub fn sign(&self, base: &[u8]) -> Vec<u8> {
        match self {
            Self::Credential(key) => key.sign(base),
            #[cfg(feature = "ecdsa")]
            Self::Ecdsa(key) => key.sign(base),
        }
    }
}

impl From<PrivateKey> for AnyPrivateKey {
    fn from(key: PrivateKey) -> Self {
        Self::Credential(key)
    }
}

#[cfg(feature = "ecdsa")]
impl From<EcdsaPrivateKey> for AnyPrivateKey {
    fn from(key: EcdsaPrivateKey) -> Self {
        Self::Ecdsa(key)
    }
}

/// A key for [`sign`](crate::sign()), of any kind. You cannot implement it.
pub trait Signs: sealed::SignsBase {}

impl Signs for PrivateKey {}
impl Signs for AnyPrivateKey {}

pub(crate) mod sealed {
    pub trait SignsBase {
        fn sign_base(&self, base: &[u8]) -> Vec<u8>;
    }
}

impl sealed::SignsBase for PrivateKey {
    fn sign_base(&self, base: &[u8]) -> Vec<u8> {
        self.sign(base)
    }
}

impl sealed::SignsBase for AnyPrivateKey {
    fn sign_base(&self, base: &[u8]) -> Vec<u8> {
        self.sign(base)
    }
}
