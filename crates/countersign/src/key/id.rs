use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::publishable::PublishableKey;

/// The key named by a `keyid`: a publishable key, or the RFC 7638 JWK thumbprint of an Ed25519 public key.
///
/// It has a fixed size and compares by value, so that two spellings of a key are equal.
///
/// ```
/// use countersign::{KeyId, PrivateKey};
///
/// let key = PrivateKey::ed25519(&[7; 32]).publishable_key();
/// let id: KeyId = key.to_string().parse()?;
/// assert!(id.names(&key));
/// assert!("a key of mine".parse::<KeyId>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyId {
    /// `pk_…`, with or without a brand.
    Publishable(PublishableKey),
    /// SHA-256 of the canonical JWK (RFC 7638), base64url without padding on the wire.
    Thumbprint([u8; 32]),
}

impl KeyId {
    /// Whether this names the key, by itself or by its thumbprint.
    pub fn names(&self, key: &PublishableKey) -> bool {
        match self {
            Self::Publishable(named) => named == key,
            Self::Thumbprint(named) => key.thumbprint().is_some_and(|own| own == *named),
        }
    }
}

/// The text is neither a publishable key nor a thumbprint, so no key can have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a publishable key nor a JWK thumbprint")]
pub struct NoKeyId;

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        if let Ok(key) = text.parse() {
            return Ok(Self::Publishable(key));
        }
        let mut thumbprint = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut thumbprint) {
            Ok(32) => Ok(Self::Thumbprint(thumbprint)),
            _ => Err(NoKeyId),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publishable(key) => key.fmt(f),
            Self::Thumbprint(bytes) => f.write_str(&URL_SAFE_NO_PAD.encode(bytes)),
        }
    }
}

impl From<PublishableKey> for KeyId {
    fn from(key: PublishableKey) -> Self {
        Self::Publishable(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_itself_and_by_its_thumbprint_alone() {
        // RFC 8037 Appendix A.3.
        let public_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let public_key = URL_SAFE_NO_PAD.decode(public_key).unwrap().try_into().unwrap();
        let key = PublishableKey::ed25519(public_key);
        let thumbprint: KeyId = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse().unwrap();
        let secret = PublishableKey::hmac_sha256([7; 16]);
        let (by_key, by_secret) = (KeyId::from(key), KeyId::from(secret));
        let table = [
            (by_key, key, true),
            (thumbprint, key, true),
            (by_secret, secret, true),
            (by_secret, key, false),
            (by_key, secret, false),
            (thumbprint, secret, false),
            (thumbprint, PublishableKey::ed25519([7; 32]), false),
            (by_key, PublishableKey::ed25519([7; 32]), false),
        ];
        for (id, key, expected) in table {
            assert_eq!(id.names(&key), expected, "{id} {key}");
        }
    }

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        let key = PublishableKey::ed25519([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(KeyId::Publishable(key)));
        let thumbprint = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";
        assert_eq!(thumbprint.parse::<KeyId>().unwrap().to_string(), thumbprint);
        let refused = [
            "",
            "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0",
            "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0V", // the last digit has bits that no byte holds
            "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U=",
            "https://example.com/key",
            "' OR 1=1 --",
        ];
        for text in refused {
            assert_eq!(text.parse::<KeyId>(), Err(NoKeyId), "{text}");
        }
    }
}
