use std::{borrow::Cow, time::Duration};

use countersign::{Code, KeyError, with_reasons};
use countersign_store::NotReplaced;

/// Why a holder's own key is not changed as its request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// The content is not that of a rotation.
    NotARotation,
    /// The content is not that of a revocation.
    NotARevocation,
    /// The new key, or its proof, cannot be used.
    BadKey(KeyError),
    OverlapTooLong {
        longest: Duration,
    },
    /// The caller has an HMAC secret.
    Secret,
    NotReplaced(NotReplaced),
    /// The new key is registered already.
    Registered,
}

impl Unchanged {
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::NotARotation
            | Self::NotARevocation
            | Self::BadKey(_)
            | Self::OverlapTooLong { .. } => Code::BadRequest,
            Self::Secret | Self::NotReplaced(_) | Self::Registered => Code::KeyConflict,
        }
    }

    pub(crate) fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotARotation => "the content is not the JSON object of a rotation".into(),
            Self::NotARevocation => "the content is not the JSON object of a revocation".into(),
            Self::BadKey(error) => format!("the new key: {}", with_reasons(error)).into(),
            Self::OverlapTooLong { longest } => {
                format!("the overlap is longer than {} s", longest.as_secs()).into()
            }
            Self::Secret => "the key is an HMAC secret, which its holder cannot replace".into(),
            Self::NotReplaced(reason) => reason.to_string().into(),
            Self::Registered => "the new key is registered already".into(),
        }
    }

    pub(crate) fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::NotARotation => {
                r#"send {"public_key": "…", "overlap_seconds": 86400}, where public_key is the content of the new .pub file"#.into()
            }
            Self::NotARevocation => {
                r#"send {"reason": "…"} with a reason of 1 to 200 printable characters, or no content"#.into()
            }
            Self::BadKey(KeyError::Unproven(_)) => {
                "send all three lines of the .pub file, which `countersign pubkey --prove KEYFILE` prints".into()
            }
            Self::BadKey(_) | Self::Registered | Self::NotReplaced(NotReplaced::SameKey) => {
                "make a new Ed25519 key pair, and send its .pub file".into()
            }
            Self::OverlapTooLong { longest } => {
                format!("ask for an overlap of at most {} s", longest.as_secs()).into()
            }
            Self::NotReplaced(NotReplaced::Replaced(_)) => {
                "sign with the key that took over; if nobody of yours made it, tell the operator of this service".into()
            }
            Self::Secret => "ask the operator of this service to replace the secret".into(),
            Self::NotReplaced(_) => self.code().hint().into(),
        }
    }
}
