use pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use ssh_key::private::KeypairData;

use super::{error::KeyError, file::KeyFile, jwk::Jwk};

/// What a parser makes of keys that no credential has: a refusal that names them, unless it reads them.
///
/// Each is given the name of what was found and what was found, as far as it is read by then.
pub(super) trait Reads: From<KeyFile> {
    const WANTED: &'static str;

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
