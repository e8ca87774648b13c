//! An issuer's JWKS: a key is taken or left out whatever stands beside it, none is taken that comes with a secret or is weak, and
//! one that is taken is found by its own name, for the one algorithm that it is for.
#![no_main]
#![allow(dead_code, reason = "a target needs a part of what it includes")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign::VerifyingKey;
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[path = "../../../crates/countersign-server/src/oauth/token_keys.rs"]
mod token_keys;

use bad_token::BadToken;
use token_keys::{BadJwks, TokenKeys};

/// In the place of the server's module of this name.
mod bad_token {
    /// Why a key is not found.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum BadToken {
        UnknownKey,
        Algorithm,
    }
}

const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The one key that was made of this member.
fn check(member: &Value, keys: &TokenKeys) {
    let text = |name: &str| member.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name).unwrap()).unwrap();
    assert!(member.get("d").is_none() && member.get("k").is_none(), "a secret: {member}");
    assert!(member.get("use").is_none_or(|it| it.is_null() || it == "sig"), "{member}");
    let kid = text("kid");
    let found = |algorithm: &Algorithm| keys.find(kid, *algorithm).is_ok();
    let algorithms: Vec<_> = ALGORITHMS.into_iter().filter(found).collect();
    let [algorithm] = algorithms.as_slice() else { panic!("{algorithms:?} for {member}") };
    if let Some(named) = text("alg") {
        assert_eq!(named, format!("{algorithm:?}"), "{member}");
    }
    match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => {
            assert_eq!(*algorithm, Algorithm::EdDSA, "{member}");
            let key: [u8; 32] = bytes("x").try_into().unwrap();
            assert!(VerifyingKey::ed25519(&key).is_ok(), "a weak key: {member}");
        }
        (Some("EC"), Some("P-256")) => assert_eq!(*algorithm, Algorithm::ES256, "{member}"),
        (Some("EC"), Some("P-384")) => assert_eq!(*algorithm, Algorithm::ES384, "{member}"),
        (Some("RSA"), _) => {
            assert!(format!("{algorithm:?}").ends_with(['6', '4', '2']), "{member}");
            assert!(!format!("{algorithm:?}").starts_with(['H', 'E']), "{member}");
            assert!((256..=1024).contains(&bytes("n").len()), "a weak key: {member}");
        }
        _ => panic!("a key of another kind: {member}"),
    }
    let other = format!("{}x", kid.unwrap_or_default());
    let unknown = keys.find(Some(&other), *algorithm).err();
    assert_eq!(unknown, Some(BadToken::UnknownKey), "{member}");
}

fuzz_target!(|text: &str| {
    let read = TokenKeys::from_jwks(text);
    let whole: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(members) = whole.get("keys").and_then(Value::as_array) else {
        assert!(matches!(read, Err(BadJwks::NotAJwks)), "{read:?}");
        return;
    };
    let mut alone = Vec::new();
    for member in members {
        match TokenKeys::from_jwks(&json!({ "keys": [member] }).to_string()) {
            Ok(keys) => {
                check(member, &keys);
                let shown = format!("{keys:?}");
                alone.push(shown[1..shown.len() - 1].to_owned());
            }
            Err(error) => assert!(matches!(error, BadJwks::NoKey), "{error:?}"),
        }
    }
    match read {
        // What stands beside a key changes nothing about it.
        Ok(keys) => assert_eq!(format!("{keys:?}"), format!("[{}]", alone.join(", "))),
        Err(BadJwks::NoKey) => assert!(alone.is_empty(), "{alone:?}"),
        Err(error) => panic!("{error:?}"),
    }
});
