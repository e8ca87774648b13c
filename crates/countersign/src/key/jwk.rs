use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{error::KeyError, private::PrivateKey, verifying::VerifyingKey};
#[cfg(feature = "key-files")]
use super::{publishable::PublishableKey, reads::Reads};
#[cfg(feature = "key-files")]
use crate::algorithm::Algorithm;

/// A JSON Web Key (RFC 7517) with the members that are read here. A member that occurs twice is an error; others are
/// ignored, as §4 asks.
#[derive(Deserialize)]
pub(super) struct Jwk {
    pub(super) kty: String,
    pub(super) crv: Option<String>,
    pub(super) alg: Option<String>,
    #[cfg(feature = "key-files")]
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    pub(super) x: Option<String>,
    #[cfg(feature = "ecdsa")]
    pub(super) y: Option<String>,
    #[cfg(feature = "rsa")]
    pub(super) n: Option<String>,
    #[cfg(feature = "rsa")]
    pub(super) e: Option<String>,
    pub(super) d: Option<Zeroizing<String>>,
    k: Option<Zeroizing<String>>,
}

impl Jwk {
    /// Whether it holds what nobody but its owner should have. Of keys of other kinds `d` is part of every private one.
    pub(super) fn is_secret(&self) -> bool {
        self.d.is_some() || self.k.is_some()
    }

    pub(super) fn is_ed25519(&self) -> bool {
        self.kty == "OKP" && self.crv.as_deref() == Some("Ed25519")
    }

    /// With its members in base64url, where they were written as plain or padded base64: the bytes are the same.
    #[cfg(feature = "key-files")]
    fn in_base64url(mut self) -> Self {
        let secrets = self.d.iter_mut().chain(&mut self.k);
        secrets.for_each(|secret| *secret = in_base64url(secret));
        let public = self.x.iter_mut();
        #[cfg(feature = "ecdsa")]
        let public = public.chain(&mut self.y);
        #[cfg(feature = "rsa")]
        let public = public.chain(&mut self.n).chain(&mut self.e);
        public.for_each(|member| *member = in_base64url(member).to_string());
        self
    }

    pub(super) fn is_for_signatures(&self) -> bool {
        matches!(self.usage.as_deref(), None | Some("sig"))
    }
}

#[cfg(feature = "key-files")]
fn in_base64url(digits: &str) -> Zeroizing<String> {
    let mut rewritten = Zeroizing::new(String::with_capacity(digits.len()));
    rewritten.extend(digits.trim_end_matches('=').chars().map(|digit| match digit {
        '+' => '-',
        '/' => '_',
        digit => digit,
    }));
    rewritten
}

/// A JWK Set (RFC 7517 §5).
#[derive(Deserialize)]
pub(super) struct JwkSet {
    pub(super) keys: Vec<Jwk>,
}

#[cfg(feature = "key-files")]
pub(super) fn parse<T: Reads>(text: &str) -> Result<T, KeyError> {
    let jwk = one(text)?;
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => match (&jwk.x, &jwk.d) {
            // Nothing is lost: the public half comes from the private one.
            (None, Some(d)) => Ok(T::of_private(PrivateKey::ed25519(&*bytes(d)?))),
            _ => match ed25519(&jwk)? {
                (_, Some(private)) => Ok(T::of_private(private)),
                (public, None) => Ok(T::of_public(public)),
            },
        },
        ("OKP", Some("X25519")) => T::wrong_kind("an X25519 key"),
        ("OKP", _) => T::wrong_kind("an Edwards-curve key that is not Ed25519"),
        ("oct", _) if matches!(jwk.alg.as_deref(), Some("HS384" | "HS512")) => {
            T::wrong_kind("an HMAC secret for another hash than SHA-256")
        }
        ("oct", _) => hmac(&jwk).map(T::of_private),
        ("RSA", _) => T::jwk("an RSA key", &jwk),
        ("EC", _) => T::jwk("an elliptic-curve (ECDSA) key", &jwk),
        _ => T::wrong_kind("a JWK of another kind"),
    }
}

/// The one key in a JWK, or in a JWK Set.
#[cfg(feature = "key-files")]
fn one(text: &str) -> Result<Jwk, KeyError> {
    let jwk = serde_json::from_str(text).or_else(|_| {
        let set: JwkSet =
            serde_json::from_str(text).map_err(|_| KeyError::Damaged("it is no JWK"))?;
        let mut keys = set.keys.into_iter();
        match (keys.next(), keys.next()) {
            (Some(jwk), None) => Ok(jwk),
            (Some(_), Some(_)) => Err(KeyError::Several),
            (None, _) => Err(KeyError::Damaged("it is a JWK Set without a key")),
        }
    });
    jwk.map(Jwk::in_base64url)
}

/// The public key, and the private one of a JWK that has it (RFC 8037 §2).
pub(super) fn ed25519(jwk: &Jwk) -> Result<(VerifyingKey, Option<PrivateKey>), KeyError> {
    if !matches!(jwk.alg.as_deref(), None | Some("EdDSA" | "Ed25519")) {
        return Err(KeyError::Damaged("its alg is not that of an Ed25519 key"));
    }
    let x = jwk.x.as_deref().ok_or(KeyError::Damaged("its member x is missing"))?;
    let x = VerifyingKey::ed25519(&*bytes(x)?)?;
    let Some(d) = &jwk.d else { return Ok((x, None)) };
    let key = PrivateKey::ed25519(&*bytes(d)?);
    if key.publishable_key() != x.publishable_key() {
        return Err(KeyError::Mismatched);
    }
    Ok((x, Some(key)))
}

/// RFC 7518 §6.4. The identifier is the one that `kid` names; a secret from elsewhere gets one that is derived from it, as
/// [`derived_id`] says.
#[cfg(feature = "key-files")]
fn hmac(jwk: &Jwk) -> Result<PrivateKey, KeyError> {
    if !matches!(jwk.alg.as_deref(), None | Some("HS256")) {
        return Err(KeyError::Damaged("its alg is not HS256"));
    }
    let k = jwk.k.as_deref().ok_or(KeyError::Damaged("its member k is missing"))?;
    let secret = URL_SAFE_NO_PAD.decode(k).map(Zeroizing::new);
    let secret = secret.map_err(|_| KeyError::Damaged("its member k is not base64url"))?;
    let named = jwk.kid.as_deref().and_then(|kid| kid.parse::<PublishableKey>().ok());
    let named = named.filter(|key| key.algorithm() == Algorithm::HmacSha256);
    // What is refused is refused before the work.
    PrivateKey::hmac_sha256([0; 16], &secret)?.require_unguessable()?;
    let id = match named.and_then(|key| key.as_bytes().try_into().ok()) {
        Some(id) => id,
        None => derived_id(&secret)?,
    };
    PrivateKey::hmac_sha256(id, &secret)
}

/// The identifier of a secret that has none: scrypt (RFC 7914) of it under a fixed salt, so that both sides derive the same.
///
/// An identifier is shown to everybody. A plain hash would let them try secrets as fast as a machine can hash; with these
/// parameters, which OWASP recommends for passwords, each try takes 32 MiB and a good part of a second.
#[cfg(feature = "key-files")]
fn derived_id(secret: &[u8]) -> Result<[u8; 16], KeyError> {
    const FAILED: KeyError = KeyError::Damaged("no identifier can be derived from it");
    let params = scrypt::Params::new(15, 8, 3).map_err(|_| FAILED)?;
    let mut id = [0; 16];
    scrypt::scrypt(secret, b"countersign hmac-sha256 key id", &params, &mut id)
        .map_err(|_| FAILED)?;
    Ok(id)
}

pub(super) fn bytes<const N: usize>(digits: &str) -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    match URL_SAFE_NO_PAD.decode_slice(digits, bytes.as_mut_slice()) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(KeyError::Damaged(
            "one of its members is not base64url of the length it has to have",
        )),
    }
}
