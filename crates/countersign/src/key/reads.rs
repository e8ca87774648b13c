use pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use ssh_key::private::KeypairData;

use super::{
    error::KeyError, jwk::Jwk, private::PrivateKey, publishable::PublishableKey,
    verifying::VerifyingKey,
};

/// The result of reading a key file. By default it holds the keys that a credential can have, and refuses other kinds by their names.
///
/// The methods for other kinds receive the name of the kind and the parsed key material.
pub(super) trait Reads: Sized {
    /// The kinds of key that can be read, for the error.
    const WANTED: &'static str;

    fn of_private(key: PrivateKey) -> Self;

    fn of_public(key: VerifyingKey) -> Self;

    /// The publishable key of an HMAC secret.
    fn of_named(key: PublishableKey) -> Self;

    fn wrong_kind(found: &'static str) -> Result<Self, KeyError> {
        Err(KeyError::WrongKind { found, wanted: Self::WANTED })
    }

    fn spki(found: &'static str, _: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn pkcs8(found: &'static str, _: &PrivateKeyInfoRef<'_>) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn sec1(found: &'static str, _body: &str) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn pkcs1_public(found: &'static str, _body: &str) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn pkcs1_private(found: &'static str, _body: &str) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn jwk(found: &'static str, _: &Jwk) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    fn openssh_public(found: &'static str, _line: &str) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }

    /// Whether [`openssh_private`](Self::openssh_private) reads keys of this algorithm. Others are named without asking
    /// for a passphrase.
    fn reads_openssh(_algorithm: &str) -> bool {
        false
    }

    fn openssh_private(found: &'static str, _: &KeypairData) -> Result<Self, KeyError> {
        Self::wrong_kind(found)
    }
}
