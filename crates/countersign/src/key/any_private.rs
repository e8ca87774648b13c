#[cfg(feature = "ecdsa")]
use super::ecdsa::EcdsaPrivateKey;
use super::{any_verifying::AnyVerifyingKey, private::PrivateKey};
use crate::algorithm::Algorithm;

/// What signs with any algorithm of RFC 9421 that is signed with here, for tools: RSA is verified only.
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

    /// What this key's signatures are verified with.
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

/// What [`sign`](crate::sign()) signs with: a key of any kind. Nothing else can be one.
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
