use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    encoding::{self, Format},
    error::KeyError,
    verifying::VerifyingKey,
};
use crate::algorithm::Algorithm;

/// The public half of a credential, which you may show to anyone: `pk_…`, also the `keyid` on the wire.
///
/// For Ed25519 it is the public key itself; for HMAC a random identifier. Its text has a checksum, so a typo is found
/// offline. A [`Brand`] before the prefix is ignored: the key is the same.
///
/// ```
/// use countersign::PublishableKey;
///
/// let text = "pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUY";
/// let key: PublishableKey = text.parse()?;
/// assert_eq!(key.to_string(), text);
/// assert!("pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUX".parse::<PublishableKey>().is_err());
/// # Ok::<(), countersign::KeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublishableKey(Payload);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Payload {
    Ed25519([u8; 32]),
    HmacSha256([u8; 16]),
}

impl PublishableKey {
    /// The publishable key of an Ed25519 public key. The bytes are not checked yet.
    pub const fn ed25519(public_key: [u8; 32]) -> Self {
        Self(Payload::Ed25519(public_key))
    }

    /// The publishable key of an HMAC-SHA256 secret with this identifier.
    pub const fn hmac_sha256(id: [u8; 16]) -> Self {
        Self(Payload::HmacSha256(id))
    }

    /// The algorithm of the credential.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Payload::Ed25519(_) => Algorithm::Ed25519,
            Payload::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// The Ed25519 public key (32 bytes), or the identifier of an HMAC secret (16 bytes).
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Payload::Ed25519(bytes) => bytes,
            Payload::HmacSha256(bytes) => bytes,
        }
    }

    /// The verifying key. For Ed25519 the publishable key contains it.
    ///
    /// # Errors
    ///
    /// [`KeyError::Weak`], or [`KeyError::WrongKind`] for HMAC: its publishable key only names a secret.
    pub fn to_verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        match &self.0 {
            Payload::Ed25519(bytes) => VerifyingKey::ed25519(bytes),
            Payload::HmacSha256(_) => Err(KeyError::WrongKind {
                found: "the publishable key of an HMAC secret, which only names it",
                wanted: "the secret itself, or an Ed25519 key",
            }),
        }
    }

    /// The RFC 7638 JWK thumbprint (SHA-256) of an Ed25519 public key.
    ///
    /// `None` for an HMAC secret: its thumbprint is a hash of the secret, which RFC 7638 §7 warns not to publish.
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        let Payload::Ed25519(bytes) = &self.0 else { return None };
        let x = URL_SAFE_NO_PAD.encode(bytes);
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Some(Sha256::digest(jwk).into())
    }

    /// Whether a text begins like a key of either half, with or without a brand. The values of other services can have
    /// `k_` anywhere.
    pub(crate) fn is_begun_in(text: &str) -> bool {
        [encoding::PUBLISHABLE, encoding::PRIVATE]
            .iter()
            .any(|prefix| encoding::after_prefix(prefix, text).is_some())
    }

    /// The text form with a brand in front: `acme_pk_…`.
    pub fn branded(&self, brand: &Brand) -> String {
        format!("{brand}_{self}")
    }
}

impl fmt::Display for PublishableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0 {
            Payload::Ed25519(_) => Format::Ed25519,
            Payload::HmacSha256(_) => Format::HmacSha256,
        };
        f.write_str(&encoding::encode(encoding::PUBLISHABLE, format, &[self.as_bytes()]))
    }
}

impl fmt::Debug for PublishableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublishableKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        let decoded = encoding::decode(encoding::PUBLISHABLE, text);
        let (format, bytes) = decoded.map_err(|error| {
            match encoding::after_prefix(encoding::PRIVATE, text) {
                // The prefix makes it one of the two.
                Some(_) => KeyError::WrongKind {
                    found: "a private key (sk_…)",
                    wanted: "a publishable key (pk_…)",
                },
                None => error,
            }
        })?;
        let wrong_length = |_| KeyError::Damaged("its length does not fit its algorithm");
        Ok(match format {
            Format::Ed25519 => Self::ed25519(bytes.as_slice().try_into().map_err(wrong_length)?),
            Format::HmacSha256 => {
                Self::hmac_sha256(bytes.as_slice().try_into().map_err(wrong_length)?)
            }
        })
    }
}

/// An operator's name before the prefix of its keys: 1 to 16 of `a-z0-9`, as in `acme_pk_…`.
///
/// ```
/// use countersign::{Brand, PrivateKey, PublishableKey};
///
/// let key = PrivateKey::ed25519(&[7; 32]).publishable_key();
/// let text = key.branded(&"acme".parse::<Brand>()?);
/// assert!(text.starts_with("acme_pk_"));
/// assert_eq!(text.parse::<PublishableKey>()?, key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand(Box<str>);

impl FromStr for Brand {
    type Err = KeyError;

    fn from_str(brand: &str) -> Result<Self, KeyError> {
        if encoding::is_brand(brand) {
            Ok(Self(brand.into()))
        } else {
            Err(KeyError::Damaged("a brand has 1 to 16 of a-z and 0-9, and is neither pk nor sk"))
        }
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_one_double_click_long_and_has_a_prefix_for_scanners() {
        for key in [PublishableKey::ed25519([7; 32]), PublishableKey::hmac_sha256([9; 16])] {
            let text = key.to_string();
            assert!(text.starts_with("pk_"), "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            assert_eq!(text.parse(), Ok(key));
            let branded = key.branded(&"acme".parse().unwrap());
            assert!(branded.starts_with("acme_pk_"), "{branded}");
            assert_eq!(branded.parse(), Ok(key));
        }
    }

    #[test]
    fn what_is_no_publishable_key_is_refused() {
        let good = PublishableKey::ed25519([7; 32]).to_string();
        let refused = [
            "",
            "pk_",
            "pk_0",
            "hello",
            "_pk_abc",
            &format!(" {good}"),
            &format!("{good} "),
            &format!("{good}1"),
            &format!("ACME_{good}"),
            &format!("a_b_{good}"),
            &format!("pk_{good}"),
            &good.replacen("pk_", "sk_", 1),
            &good[..good.len() - 1],
            &"1".repeat(10_000),
            &format!("pk_{}", "z".repeat(10_000)),
        ];
        for text in refused {
            assert!(text.parse::<PublishableKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let good = PublishableKey::ed25519([3; 32]).to_string();
        for at in 3..good.len() {
            for other in b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz" {
                let mut text = good.clone().into_bytes();
                if text[at] != *other {
                    text[at] = *other;
                    let text = String::from_utf8(text).unwrap();
                    assert!(text.parse::<PublishableKey>().is_err(), "{text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(bytes: [u8; 32], id: [u8; 16]) {
            for key in [PublishableKey::ed25519(bytes), PublishableKey::hmac_sha256(id)] {
                prop_assert_eq!(key.to_string().parse(), Ok(key));
            }
        }

        #[test]
        fn no_text_panics_and_what_parses_prints_the_same(text in "([a-z]{0,5}_)?(pk_)?\\PC{0,80}") {
            if let Ok(key) = text.parse::<PublishableKey>() {
                prop_assert!(text.ends_with(&key.to_string()));
            }
        }
    }
}
