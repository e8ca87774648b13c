use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    error::KeyError,
    id::KeyId,
    jwk::{self, Jwk, JwkSet},
    verifying::VerifyingKey,
};

/// The path of a server's key directory (draft-meunier-http-message-signatures-directory), with the keys that sign its
/// responses.
pub const KEY_DIRECTORY_PATH: &str = "/.well-known/http-message-signatures-directory";

/// The media type of a key directory: a JWK Set (RFC 7517 §5).
pub const KEY_DIRECTORY_TYPE: &str = "application/http-message-signatures-directory+json";

const MOST_BYTES: usize = 64 * 1024;
const MOST_KEYS: usize = 32;

/// The Ed25519 keys that sign a server's responses: the current one, and those before and after it.
#[derive(Clone, Debug)]
pub struct ServerKeys(Vec<(KeyId, VerifyingKey)>);

/// Why keys cannot be a server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadServerKeys {
    /// Not a JWK Set.
    #[error("it is not a JWK Set of at most 64 KiB and 32 keys")]
    NotAJwkSet,
    /// No key, or no key of a kind that signs responses here.
    #[error("there is no Ed25519 key among them")]
    None,
    /// A private key or a secret. Its readers have it now.
    #[error("one of them is a private key or a secret, which is public now")]
    Private,
    /// An HMAC secret: its verifiers could make responses.
    #[error(
        "one of them is an HMAC secret, and every client that verifies with it could sign responses"
    )]
    Secret,
    /// A damaged or weak key.
    #[error("one of them cannot be used")]
    Key(#[from] KeyError),
}

impl ServerKeys {
    /// These keys.
    ///
    /// # Errors
    ///
    /// [`BadServerKeys`].
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, BadServerKeys> {
        let mut named: Vec<(KeyId, VerifyingKey)> = Vec::new();
        for key in keys {
            let id = KeyId::Thumbprint(key.thumbprint().ok_or(BadServerKeys::Secret)?);
            if !named.iter().any(|(other, _)| *other == id) {
                named.push((id, key));
            }
        }
        if named.is_empty() { Err(BadServerKeys::None) } else { Ok(Self(named)) }
    }

    /// The keys in a directory: a JWK Set (RFC 7517 §5). Keys of other kinds and for other uses are ignored.
    ///
    /// # Errors
    ///
    /// [`BadServerKeys`].
    pub fn from_jwks(json: &[u8]) -> Result<Self, BadServerKeys> {
        if json.len() > MOST_BYTES {
            return Err(BadServerKeys::NotAJwkSet);
        }
        let set: JwkSet = serde_json::from_slice(json).map_err(|_| BadServerKeys::NotAJwkSet)?;
        if set.keys.len() > MOST_KEYS {
            return Err(BadServerKeys::NotAJwkSet);
        }
        if set.keys.iter().any(Jwk::is_secret) {
            return Err(BadServerKeys::Private);
        }
        let ours = set.keys.iter().filter(|jwk| jwk.is_ed25519() && jwk.is_for_signatures());
        let keys: Result<Vec<_>, _> =
            ours.map(|jwk| jwk::ed25519(jwk).map(|(public, _)| public)).collect();
        Self::new(keys?)
    }

    /// The JWK Set of these keys, in their original order.
    pub fn to_jwks(&self) -> String {
        let jwk = |(id, key): &(KeyId, VerifyingKey)| {
            let x = URL_SAFE_NO_PAD.encode(key.publishable_key().as_bytes());
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id.to_string(), "use": "sig" })
        };
        json!({ "keys": self.0.iter().map(jwk).collect::<Vec<_>>() }).to_string()
    }

    /// The key of a `keyid`.
    pub fn find(&self, id: &KeyId) -> Option<&VerifyingKey> {
        let named = |(own, key): &&(KeyId, VerifyingKey)| match id {
            KeyId::Thumbprint(_) => own == id,
            KeyId::Publishable(publishable) => *publishable == key.publishable_key(),
        };
        self.0.iter().find(named).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::private::PrivateKey;

    fn key(seed: u8) -> VerifyingKey {
        PrivateKey::ed25519(&[seed; 32]).verifying_key()
    }

    #[test]
    fn a_directory_is_read_as_it_was_written() {
        let keys = ServerKeys::new([key(1), key(2), key(1)]).unwrap();
        let read = ServerKeys::from_jwks(keys.to_jwks().as_bytes()).unwrap();
        assert_eq!(read.to_jwks(), keys.to_jwks());
        for known in [key(1), key(2)] {
            let by_thumbprint = KeyId::Thumbprint(known.thumbprint().unwrap());
            let by_name = KeyId::from(known.publishable_key());
            assert_eq!(read.find(&by_thumbprint), Some(&known));
            assert_eq!(read.find(&by_name), Some(&known));
        }
        assert_eq!(read.find(&KeyId::Thumbprint(key(3).thumbprint().unwrap())), None);
        assert_eq!(read.find(&KeyId::from(key(3).publishable_key())), None);
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over_and_bad_ones_refused() {
        let x = URL_SAFE_NO_PAD.encode(key(1).publishable_key().as_bytes());
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let read = |keys: &str| {
            let read = ServerKeys::from_jwks(format!(r#"{{"keys":[{keys}]}}"#).as_bytes());
            read.map(|ServerKeys(keys)| keys.len())
        };
        let other = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"1"}"#;
        let unknown = r#"{"kty":"AKP","pub":"AA"}"#;
        let used = format!(r#"{{"kty":"OKP","crv":"Ed25519","use":"sig","nbf":1,"x":"{x}"}}"#);
        for keys in [good.clone(), format!("{other},{unknown},{good}"), used.clone()] {
            assert_eq!(read(&keys), Ok(1), "{keys}");
        }
        let encrypts = used.replace("sig", "enc");
        for keys in ["", other, unknown, &encrypts] {
            assert_eq!(read(keys), Err(BadServerKeys::None), "{keys}");
        }
        let private = used.replace("}", r#","d":"AA"}"#);
        let secret = r#"{"kty":"oct","k":"AA"}"#;
        for shown in [private.as_str(), secret] {
            let keys = format!("{good},{shown}");
            assert_eq!(read(&keys), Err(BadServerKeys::Private), "{keys}");
        }
        let weak = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, "A".repeat(43));
        assert!(matches!(read(&weak), Err(BadServerKeys::Key(KeyError::Weak(_)))));
        assert!(matches!(
            read(&good.replace(&x, "AA")),
            Err(BadServerKeys::Key(KeyError::Damaged(_)))
        ));
        let twice = good.replace("}", &format!(r#","x":"{x}"}}"#));
        let many = vec![good.as_str(); MOST_KEYS + 1].join(",");
        for keys in [twice.as_str(), "1", &many] {
            assert_eq!(read(keys), Err(BadServerKeys::NotAJwkSet), "{keys}");
        }
        let long = format!("{good}{}", " ".repeat(MOST_BYTES));
        assert_eq!(read(&long), Err(BadServerKeys::NotAJwkSet));
        for json in ["", "[]", "{}", r#"{"keys":1}"#] {
            let refused = ServerKeys::from_jwks(json.as_bytes()).unwrap_err();
            assert_eq!(refused, BadServerKeys::NotAJwkSet, "{json}");
        }
    }

    #[test]
    fn a_secret_is_no_servers_key() {
        let hmac = VerifyingKey::hmac_sha256([1; 16], &[7; 32]).unwrap();
        assert_eq!(ServerKeys::new([key(1), hmac]).unwrap_err(), BadServerKeys::Secret);
        assert_eq!(ServerKeys::new([]).unwrap_err(), BadServerKeys::None);
    }
}
