use std::{fmt, str::FromStr};

/// A signature algorithm, by its name in the HTTP Signature Algorithms registry (RFC 9421 §6.2).
///
/// It is an attribute of a key. A message can only agree with it or be refused.
///
/// All names are known, so that an `alg` for a key of another kind is a contradiction and not an unknown name.
/// Credentials have the first two; the others are for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 (RFC 9421 §3.3.6).
    Ed25519,
    /// HMAC with SHA-256 (RFC 9421 §3.3.3), for callers that cannot use asymmetric keys.
    HmacSha256,
    /// ECDSA over P-256 with SHA-256 (RFC 9421 §3.3.4).
    EcdsaP256Sha256,
    /// ECDSA over P-384 with SHA-384 (RFC 9421 §3.3.5).
    EcdsaP384Sha384,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes (RFC 9421 §3.3.1).
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 9421 §3.3.2).
    RsaV15Sha256,
}

impl Algorithm {
    /// All of the registry.
    const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::HmacSha256,
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::RsaPssSha512,
        Self::RsaV15Sha256,
    ];

    /// The registered name, as in the `alg` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::HmacSha256 => "hmac-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
        }
    }
}

impl Algorithm {
    /// The algorithm that JOSE (RFC 7518, RFC 8037) calls by this name, in any case: `EdDSA`, `HS256`.
    pub(crate) fn of_jose(name: &str) -> Option<Self> {
        let names = [
            ("EdDSA", Self::Ed25519),
            ("HS256", Self::HmacSha256),
            ("ES256", Self::EcdsaP256Sha256),
            ("ES384", Self::EcdsaP384Sha384),
            ("PS512", Self::RsaPssSha512),
            ("RS256", Self::RsaV15Sha256),
        ];
        let named = names.into_iter().find(|(jose, _)| jose.eq_ignore_ascii_case(name));
        named.map(|(_, algorithm)| algorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is of no algorithm in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown algorithm; known are ed25519, hmac-sha256, ecdsa-p256-sha256, ecdsa-p384-sha384, rsa-pss-sha512 and \
     rsa-v1_5-sha256"
)]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Exact names only: `ED25519` is not `ed25519`.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_registry_and_no_others() {
        let registered = [
            "ed25519",
            "hmac-sha256",
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "rsa-pss-sha512",
            "rsa-v1_5-sha256",
        ];
        assert_eq!(Algorithm::ALL.map(Algorithm::as_str), registered);
        for name in registered {
            assert_eq!(name.parse::<Algorithm>().unwrap().to_string(), name);
            assert_eq!(name.to_uppercase().parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
        for name in ["", "ed25519 ", "rsa-v1_5-sha512", "none"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
