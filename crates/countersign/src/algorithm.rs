use std::{fmt, str::FromStr};

/// A signature algorithm, by its name in the HTTP Signature Algorithms registry (RFC 9421 §6.2).
///
/// It is an attribute of a key. A message can only agree with it or be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 (RFC 9421 §3.3.6).
    Ed25519,
    /// HMAC with SHA-256 (RFC 9421 §3.3.3), for callers that cannot do asymmetric keys.
    HmacSha256,
}

impl Algorithm {
    /// The registered name, as in the `alg` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::HmacSha256 => "hmac-sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is of no algorithm served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown algorithm; known are ed25519 and hmac-sha256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Exact names only: `ED25519` is not `ed25519`.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "ed25519" => Ok(Self::Ed25519),
            "hmac-sha256" => Ok(Self::HmacSha256),
            _ => Err(UnknownAlgorithm),
        }
    }
}
