use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use countersign::VerifyingKey;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, aws_lc},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize as _;
use serde_json::Value;

use super::bad_token::BadToken;

/// The largest JWKS, in bytes.
pub(super) const MOST_BYTES: usize = 128 * 1024;

/// The public keys that an issuer signs access tokens with, from a JWKS (RFC 7517).
///
/// It uses RSA keys of 2048 to 8192 bits (`RS256`, or the `RS…` or `PS…` algorithm in `alg`), P-256 (`ES256`), P-384 (`ES384`)
/// and Ed25519 (`EdDSA`). It ignores all other keys, as RFC 7517 §5 asks: keys that are not for signatures, symmetric keys, weak
/// keys, and keys with their private half.
#[derive(Clone)]
pub struct TokenKeys(Arc<[Arc<TokenKey>]>);

/// A key with its only algorithm.
pub(super) struct TokenKey {
    kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why a JWKS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadJwks {
    /// The file cannot be read.
    #[error("the JWKS cannot be read")]
    Unreadable(#[from] io::Error),
    /// The JWKS is longer than 128 KiB.
    #[error("the JWKS is longer than 128 KiB")]
    TooLong,
    /// The text is not JSON, or has no member `keys` that is a list.
    #[error("it is not a JWKS, an object with a list of keys")]
    NotAJwks,
    /// The JWKS has no usable key.
    #[error("the JWKS has no key that can verify access tokens")]
    NoKey,
}

impl TokenKeys {
    /// Reads the keys of a JWKS.
    ///
    /// # Errors
    ///
    /// [`BadJwks`].
    pub fn from_jwks(text: &str) -> Result<Self, BadJwks> {
        if text.len() > MOST_BYTES {
            return Err(BadJwks::TooLong);
        }
        if CryptoProvider::try_get_default().is_none() {
            // No default means that another part of the program enabled both providers. A provider that is installed already
            // stays.
            aws_lc::DEFAULT_PROVIDER.install_default().ok();
        }
        let jwks: Value = serde_json::from_str(text).map_err(|_| BadJwks::NotAJwks)?;
        let keys = jwks.get("keys").and_then(Value::as_array).ok_or(BadJwks::NotAJwks)?;
        let keys: Arc<[_]> = keys.iter().filter_map(TokenKey::of).map(Arc::new).collect();
        if keys.is_empty() { Err(BadJwks::NoKey) } else { Ok(Self(keys)) }
    }

    /// Reads the keys of a JWKS in a file, once.
    ///
    /// # Errors
    ///
    /// [`BadJwks`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, BadJwks> {
        let mut text = String::new();
        let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(most).read_to_string(&mut text)?;
        Self::from_jwks(&text)
    }

    /// Returns the key with this `kid`. A token without a `kid` is accepted only if there is a single key.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<TokenKey>, BadToken> {
        let mut named = self.0.iter().filter(|key| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => self.0.len() == 1,
        });
        let mut none = BadToken::UnknownKey;
        let found = named.find(|key| {
            none = BadToken::Algorithm;
            key.algorithm == algorithm
        });
        found.cloned().ok_or(none)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.kid, key.algorithm))).finish()
    }
}

impl TokenKey {
    /// Reads a key; `None` if it is not usable.
    fn of(jwk: &Value) -> Option<Self> {
        if ["d", "k"].iter().any(|secret| jwk.get(secret).is_some()) {
            tracing::warn!(
                "the JWKS of an issuer holds a private or symmetric key, which is not used: whoever reads it can make tokens"
            );
            return None;
        }
        let jwk = Jwk::deserialize(jwk).ok()?;
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let uses = common.key_operations.as_ref();
        if uses.is_some_and(|uses| !uses.contains(&KeyOperations::Verify)) {
            return None;
        }
        let algorithm = algorithm_of(&jwk)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let sound = match (algorithm, key.kind()) {
            // Anyone can make signatures that verify with a weak key.
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(bytes)) => {
                <&[u8; 32]>::try_from(&**bytes).is_ok_and(|key| VerifyingKey::ed25519(key).is_ok())
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(bytes)) => bytes.len() == 65,
            (Algorithm::ES384, DecodingKeyKind::SecretOrDer(bytes)) => bytes.len() == 97,
            (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => (256..=1024).contains(&n.len()),
            _ => false,
        };
        let kid = common.key_id.as_deref().map(Box::from);
        sound.then_some(Self { kid, algorithm, key })
    }
}

/// Returns the algorithm of a key. It follows from the key's type; for RSA from `alg`.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let named = jwk.common.key_algorithm;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => match named {
            // RFC 9068 §2.1: every issuer supports this algorithm.
            None => Algorithm::RS256,
            Some(named) => Algorithm::try_from(named).ok()?,
        },
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        },
        _ => return None,
    };
    let rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
    let fits = rsa == (algorithm.family() == AlgorithmFamily::Rsa);
    (fits && named.is_none_or(|named| named == algorithm.into())).then_some(algorithm)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    /// Reads a JWKS with this key and a good key.
    fn read(jwk: &Value) -> String {
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "good", "x": ED25519 });
        let keys = TokenKeys::from_jwks(&json!({ "keys": [jwk, good] }).to_string());
        format!("{:?}", keys.unwrap())
    }

    fn with(jwk: &Value, changes: &Value) -> Value {
        let mut jwk = jwk.clone();
        for (member, value) in changes.as_object().unwrap() {
            jwk[member] = value.clone();
        }
        jwk
    }

    fn keys() -> [(Value, &'static str); 4] {
        // Of 256, 32 and 48 bytes.
        let digits = |number| "A".repeat(number);
        let ec = |curve: &str, number| json!({ "kty": "EC", "crv": curve, "x": digits(number), "y": digits(number), "kid": "k" });
        [
            (json!({ "kty": "RSA", "n": digits(342), "e": "AQAB", "kid": "k" }), "RS256"),
            (ec("P-256", 43), "ES256"),
            (ec("P-384", 64), "ES384"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519, "kid": "k" }), "EdDSA"),
        ]
    }

    #[test]
    fn a_key_is_for_the_one_algorithm_that_its_kind_has() {
        for (jwk, algorithm) in keys() {
            let expected = format!(r#"[(Some("k"), {algorithm}), (Some("good"), EdDSA)]"#);
            assert_eq!(read(&jwk), expected);
            let fits = [
                json!({ "alg": algorithm }),
                json!({ "use": "sig" }),
                json!({ "key_ops": ["verify"] }),
                json!({ "x5t": "x", "unknown": { "a": 1 } }),
            ];
            for changes in fits {
                assert_eq!(read(&with(&jwk, &changes)), expected, "{changes}");
            }
        }
        let [(rsa, _), ..] = keys();
        for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
            let expected = format!(r#"[(Some("k"), {algorithm}), (Some("good"), EdDSA)]"#);
            assert_eq!(read(&with(&rsa, &json!({ "alg": algorithm }))), expected);
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_left_out_and_the_others_are_not() {
        let left_out = r#"[(Some("good"), EdDSA)]"#;
        for (jwk, algorithm) in keys() {
            let changes = [
                json!({ "kty": "oct", "k": "AAAA" }),
                json!({ "kty": "other" }),
                json!({ "kty": 7 }),
                json!({ "use": "enc" }),
                json!({ "use": 7 }),
                json!({ "key_ops": ["sign"] }),
                json!({ "key_ops": [] }),
                json!({ "alg": "HS256" }),
                json!({ "alg": "none" }),
                json!({ "alg": "RSA-OAEP" }),
                json!({ "alg": if algorithm == "EdDSA" { "ES256" } else { "EdDSA" } }),
                json!({ "d": "AAAA" }),
                json!({ "kid": 7 }),
                json!({ "x": "AAAA", "n": "AAAA" }),
                json!({ "x": "=", "n": "=" }),
                json!({ "x": 7, "n": 7 }),
            ];
            for changes in changes {
                assert_eq!(read(&with(&jwk, &changes)), left_out, "{algorithm} {changes}");
            }
        }
        let [_, (p256, _), _, (ed25519, _)] = keys();
        for (jwk, curve) in [
            (&p256, "P-521"),
            (&p256, "secp256k1"),
            (&p256, "Ed25519"),
            (&ed25519, "X25519"),
            (&ed25519, "Ed448"),
            (&ed25519, "P-256"),
        ] {
            assert_eq!(read(&with(jwk, &json!({ "crv": curve }))), left_out, "{curve}");
        }
        // A point of small order, for which anyone can make signatures, and a point that is not canonical.
        for weak in ["A".repeat(43), format!("7v{}38", "_".repeat(39))] {
            assert_eq!(read(&with(&ed25519, &json!({ "x": weak }))), left_out, "{weak}");
        }
        for entry in [json!(7), json!(null), json!([]), json!({})] {
            assert_eq!(read(&entry), left_out, "{entry}");
        }
    }

    #[test]
    fn one_name_can_be_that_of_keys_for_several_algorithms() {
        let jwks = json!({ "keys": keys().map(|(jwk, _)| jwk) });
        let keys = TokenKeys::from_jwks(&jwks.to_string()).unwrap();
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            assert_eq!(keys.find(Some("k"), algorithm).map(|key| key.algorithm), Ok(algorithm));
        }
        for algorithm in [Algorithm::HS256, Algorithm::RS512, Algorithm::PS256] {
            assert_eq!(keys.find(Some("k"), algorithm).err(), Some(BadToken::Algorithm));
        }
        for kid in [None, Some("K"), Some("")] {
            assert_eq!(keys.find(kid, Algorithm::EdDSA).err(), Some(BadToken::UnknownKey));
        }
    }
}
