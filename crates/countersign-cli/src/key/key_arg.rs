use clap::Args;
use countersign::{KeyError, KeyId, PublishableKey};

use crate::failure::Failure;

/// The key that a command is about.
#[derive(Args, Debug)]
pub(super) struct KeyArg {
    /// Its publishable key, or its JWK thumbprint
    // A thumbprint is base64url, which can begin with a hyphen.
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    pub(super) key: String,
}

impl KeyArg {
    pub(super) fn id(&self) -> Result<KeyId, Failure> {
        let text = &self.key;
        text.parse().map_err(|error| match text.parse::<PublishableKey>() {
            Err(damaged @ KeyError::Damaged(_)) => Failure::local(
                format!("`{text}` is no publishable key: {damaged}"),
                "copy it again: a typo is told by its checksum",
            ),
            _ => Failure::local(
                format!("`{text}`: {error}"),
                "`countersign key list` shows the publishable keys there are",
            ),
        })
    }
}
