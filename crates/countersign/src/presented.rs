use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};
use zeroize::Zeroizing;

use crate::{
    code::Code,
    field_name::X_API_KEY,
    key::{KeyId, PrivateKey, PublishableKey, VerifyingKey},
};

const NAME: &str = "api_key";

/// The places where an unsigned read may carry its publishable key. Default: the `X-Api-Key` field, the query parameter
/// `api_key` and the cookie `api_key`. A place that is switched off is ignored.
///
/// ```
/// use countersign::KeyLocations;
/// use http::{HeaderMap, HeaderValue};
///
/// let locations = KeyLocations::default().without_query().without_cookie();
/// let key = "pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUY";
/// let headers = HeaderMap::from_iter([(countersign::X_API_KEY, HeaderValue::from_static(key))]);
/// let presented = locations.find(&headers, Some("page=2"))?;
/// assert_eq!(presented.key(), Some(key.parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLocations {
    header: bool,
    query: bool,
    cookie: bool,
}

impl Default for KeyLocations {
    fn default() -> Self {
        Self { header: true, query: true, cookie: true }
    }
}

/// The publishable key of a request, outside its signature.
#[derive(Debug, Default)]
pub struct Presented {
    key: Option<PublishableKey>,
    times: u8,
    in_query: bool,
}

/// Why the publishable key of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPresented {
    /// The place of a publishable key holds another text.
    #[error("the text in the place of a publishable key is not one")]
    NotAKey,
    /// A private key, in the place of a publishable key or in `Authorization`. Holds its verifying key, if the private
    /// key is undamaged and has its text form `sk_…`, whatever stands around it. Do not log the text of the private key.
    ///
    /// The sender may have made the key up. An HMAC private key contains its key id, so compare the verifying key with
    /// the registered one before you advise anybody to revoke that.
    #[error("the request carries {}", match .0 {
        Some(_) => "a private key, which others can have read on the way",
        None => "what looks like a private key",
    })]
    PrivateKey(Option<Box<VerifyingKey>>),
    /// Two different keys, a key that is repeated too often, or a key in the URL beside a signature.
    #[error(
        "the request carries two different keys, one too often, or one in the URL beside a signature"
    )]
    Ambiguous,
}

impl BadPresented {
    /// The code of the refusal.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotAKey => Code::KeyUnknown,
            Self::PrivateKey(_) => Code::SignatureRequired,
            Self::Ambiguous => Code::AmbiguousCredential,
        }
    }
}

/// How often a request may repeat its key. Reading a key costs time, and honest callers do not repeat it.
const MOST_TIMES: u8 = 4;

impl KeyLocations {
    /// No key in the `X-Api-Key` field.
    pub const fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// No key in the query, where logs and histories keep it.
    pub const fn without_query(mut self) -> Self {
        self.query = false;
        self
    }

    /// No key in a cookie.
    pub const fn without_cookie(mut self) -> Self {
        self.cookie = false;
        self
    }

    /// The key of a request with these fields and this query. It may be repeated.
    ///
    /// # Errors
    ///
    /// [`BadPresented`]. Also for an undamaged private key in `Authorization`, as `Bearer sk_…` or in `Basic`, though the
    /// verifier reads no key from there.
    pub fn find(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Presented, BadPresented> {
        // RFC 9110 §11.6.2 allows one field. Each costs work before the caller has shown a key.
        for value in headers.get_all(AUTHORIZATION).iter().take(MOST_AUTHORIZATIONS) {
            if let Some(key) = value.to_str().ok().and_then(private_key_in_authorization) {
                return Err(BadPresented::PrivateKey(Some(Box::new(key))));
            }
        }
        let mut presented = Presented::default();
        if self.header {
            for value in headers.get_all(X_API_KEY) {
                let text = value.to_str().map_err(|_| BadPresented::NotAKey)?;
                presented.add(text.trim_matches([' ', '\t']))?;
            }
        }
        if self.query {
            for text in values(query.unwrap_or(""), b'&') {
                presented.add(text)?;
                presented.in_query = true;
            }
        }
        if self.cookie {
            for cookies in headers.get_all(COOKIE) {
                // Other cookies are the service's own.
                let cookies = String::from_utf8_lossy(cookies.as_bytes());
                // A cookie of this name can be of another service of the same site: a key is told by its form.
                let keys = values(&cookies, b';').filter(|text| PublishableKey::is_begun_in(text));
                for text in keys {
                    presented.add(text)?;
                }
            }
        }
        Ok(presented)
    }
}

impl Presented {
    fn add(&mut self, text: &str) -> Result<(), BadPresented> {
        self.times = self.times.saturating_add(1);
        if self.times > MOST_TIMES {
            return Err(BadPresented::Ambiguous);
        }
        let key = text.parse().map_err(|_| match PrivateKey::is_shown_in(text) {
            true => BadPresented::PrivateKey(private_key_in(text).map(Box::new)),
            false => BadPresented::NotAKey,
        })?;
        match self.key.replace(key) {
            Some(other) if other != key => Err(BadPresented::Ambiguous),
            _ => Ok(()),
        }
    }

    /// The key; `None` if the request has no key.
    pub const fn key(&self) -> Option<PublishableKey> {
        self.key
    }

    /// Checks that a signed request carries no key but its own, and no key in its URL.
    ///
    /// # Errors
    ///
    /// [`BadPresented::Ambiguous`].
    pub fn agrees_with(&self, signing: Option<&KeyId>) -> Result<(), BadPresented> {
        let same = self.key.is_none_or(|shown| signing.is_some_and(|id| id.names(&shown)));
        if same && !self.in_query { Ok(()) } else { Err(BadPresented::Ambiguous) }
    }
}

/// How the text of a private key begins.
const PREFIX: &str = "sk_";

/// How many fields of `Authorization` are looked through.
const MOST_AUTHORIZATIONS: usize = 2;

/// How many words of a text can be a key, and how long a key with a name is in base64.
const MOST_WORDS: usize = 4;
const LONGEST_BASIC: usize = 512;

/// The verifying key of a private key in the value of `Authorization`, under any scheme.
fn private_key_in_authorization(value: &str) -> Option<VerifyingKey> {
    private_key_in(value).or_else(|| {
        let (scheme, encoded) = value.trim_start().split_once(' ')?;
        let basic = scheme.eq_ignore_ascii_case("basic") && encoded.len() <= LONGEST_BASIC;
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
        let decoded = basic.then(|| engine.decode(encoded.trim()).ok()).flatten()?;
        let decoded = Zeroizing::new(decoded);
        // RFC 7617 §2: a user and a password.
        std::str::from_utf8(&decoded).ok().and_then(private_key_in)
    })
}

/// The verifying key of the first undamaged private key in a text, whatever stands around it. Keys of other services begin
/// with `sk_` as well: the checksum decides.
fn private_key_in(text: &str) -> Option<VerifyingKey> {
    text.match_indices(PREFIX).take(MOST_WORDS).find_map(|(at, _)| {
        let begun = text.get(at..)?;
        let digits = begun.strip_prefix(PREFIX)?;
        let rest = digits.trim_start_matches(|character: char| character.is_ascii_alphanumeric());
        let key = begun.strip_suffix(rest)?.parse::<PrivateKey>().ok()?;
        Some(key.verifying_key())
    })
}

/// The values of the pairs with the name of a key. The name may be percent-encoded, as for a handler.
///
/// One look at each byte: HTTP/2 sends many kilobytes of cookies in a few bytes, before the caller has shown a key.
fn values(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut rest, mut pair_starts) = (text, true);
    std::iter::from_fn(move || {
        for (at, byte) in rest.bytes().enumerate() {
            if byte == separator {
                pair_starts = true;
                continue;
            }
            if !pair_starts || byte == b' ' {
                continue;
            }
            pair_starts = false;
            if !matches!(byte, b'a' | b'%') {
                continue;
            }
            if let Some(value) = value_behind_name(rest.get(at..)?) {
                let end = value.bytes().position(|byte| byte == separator);
                let (value, behind) = value.split_at_checked(end.unwrap_or(value.len()))?;
                rest = behind;
                return Some(value.trim_end_matches(' '));
            }
        }
        rest = "";
        None
    })
}

/// The text after the name of a key and an equals sign, if the text starts with them.
fn value_behind_name(mut text: &str) -> Option<&str> {
    for expected in NAME.bytes() {
        let (byte, rest) = match text.as_bytes() {
            [b'%', high, low, ..] => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                let byte = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
                (u8::try_from(byte).ok()?, text.get(3..)?)
            }
            [byte, ..] => (*byte, text.get(1..)?),
            [] => return None,
        };
        if byte != expected {
            return None;
        }
        text = rest;
    }
    text.strip_prefix('=')
}

#[cfg(test)]
mod tests {
    use http::Request;
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;

    /// Pair by pair.
    fn values_plainly(text: &str, separator: char) -> Vec<&str> {
        let pairs = text.split(separator).filter_map(|pair| pair.trim_matches(' ').split_once('='));
        let named = |(name, _): &(&str, &str)| percent_decode(name.as_bytes()).eq(NAME.bytes());
        pairs.filter(named).map(|(_, value)| value).collect()
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("api_key"),
            Just("api_key="),
            Just("%61pi_ke%79"),
            Just("a"),
            Just("api"),
            Just("_key"),
            Just("="),
            Just("%3D"),
            Just("%3d"),
            Just("%6"),
            Just("%"),
            Just("%zz"),
            Just(" "),
            Just(";"),
            Just("&"),
            Just("pk_1"),
            Just("é"),
        ];
        proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn one_pass_finds_what_cutting_into_pairs_finds(text in text()) {
            for separator in [';', '&'] {
                let found: Vec<_> = values(&text, separator as u8).collect();
                prop_assert_eq!(found, values_plainly(&text, separator), "{}", separator);
            }
        }
    }

    fn find(
        locations: KeyLocations,
        headers: &[(&str, &str)],
        query: &str,
    ) -> Result<Presented, BadPresented> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        locations.find(&head.headers, Some(query))
    }

    #[test]
    fn a_key_is_found_where_it_may_be_and_only_there() {
        let key = PublishableKey::ed25519([7; 32]);
        let text = key.to_string();
        let all = KeyLocations::default();
        let in_header = [("x-api-key", text.as_str())];
        let in_cookie = format!("a=b; api_key={text}; c");
        let in_cookie = [("cookie", in_cookie.as_str())];
        let in_query = format!("a=b&api_key={text}");
        let found = |found: Result<Presented, BadPresented>| found.unwrap().key();
        assert_eq!(found(find(all, &in_header, "")), Some(key));
        assert_eq!(found(find(all, &in_cookie, "")), Some(key));
        assert_eq!(found(find(all, &[], &in_query)), Some(key));
        assert_eq!(found(find(all, &in_header, &in_query)), Some(key));
        assert_eq!(found(find(all, &[], &in_query.replace("api_", "%61pi%5F"))), Some(key));
        assert_eq!(found(find(all, &[("cookie", "api_key=session-of-another-service")], "")), None);
        for other in ["desk_42", "task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A", "xpk=k_1", "a b_pk_1", "k_"] {
            let cookie = format!("api_key={other}");
            let beside = [("x-api-key", text.as_str()), ("cookie", cookie.as_str())];
            assert_eq!(found(find(all, &beside, "")), Some(key), "{other}");
        }
        for begun in ["pk_1", "acme_pk_1", "sk_1"] {
            let cookie = format!("api_key={begun}");
            let outcome = find(all, &[("cookie", &cookie)], "").err();
            assert_eq!(outcome, Some(BadPresented::NotAKey), "{begun}");
        }
        assert_eq!(found(find(all, &[], "xapi_key=1&api_keys=2&api_key")), None);
        assert_eq!(found(find(all.without_header(), &in_header, "")), None);
        assert_eq!(found(find(all.without_cookie(), &in_cookie, "")), None);
        assert_eq!(found(find(all.without_query(), &[], &in_query)), None);
    }

    #[test]
    fn two_keys_and_what_is_no_key_are_refused() {
        let one = PublishableKey::ed25519([7; 32]).to_string();
        let two = PublishableKey::ed25519([8; 32]).to_string();
        let private = crate::PrivateKey::ed25519(&[7; 32]).expose_text();
        let all = KeyLocations::default();
        let header = |text: &str| find(all, &[("x-api-key", text)], "").err();
        let half = crate::PrivateKey::ed25519(&[7; 32]).verifying_key();
        let found = Some(BadPresented::PrivateKey(Some(Box::new(half))));
        assert_eq!(header(&private), found);
        let mistyped = private.replacen("sk_", "sk_0", 1);
        assert_eq!(header(&mistyped), Some(BadPresented::PrivateKey(None)));
        for text in [
            format!("Bearer {}", *private),
            format!("\"{}\"", *private),
            format!("key={},", *private),
            format!("sk_other sk_{} {}", "a".repeat(200), *private),
        ] {
            assert_eq!(header(&text), found, "{text}");
        }
        for around in ["{}%20", "%22{}%22", "Bearer+{}", "%0a{}"] {
            let query = format!("api_key={}", around.replace("{}", &private));
            assert_eq!(find(all, &[], &query).err(), found, "{around}");
        }
        // The keys of other services begin like ours.
        assert_eq!(header("sk_live_51H8a9b0c1d2e3f4"), Some(BadPresented::NotAKey));
        assert_eq!(header("sk_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A"), Some(BadPresented::NotAKey));
        let query = format!("api_key={}", *private);
        assert_eq!(find(all, &[], &query).err(), found);
        assert_eq!(header(""), Some(BadPresented::NotAKey));
        assert_eq!(header("pk_1"), Some(BadPresented::NotAKey));
        let query = format!("api_key={two}");
        assert_eq!(find(all, &[("x-api-key", &one)], &query).err(), Some(BadPresented::Ambiguous));
        let often = vec![("x-api-key", one.as_str()); 5];
        assert!(find(all, &often[1..], "").is_ok());
        assert_eq!(find(all, &often, "").err(), Some(BadPresented::Ambiguous));
        let both = [("x-api-key", one.as_str()), ("x-api-key", two.as_str())];
        assert_eq!(find(all, &both, "").err(), Some(BadPresented::Ambiguous));
    }

    #[test]
    fn a_private_key_in_authorization_is_noticed_and_what_is_none_is_left_alone() {
        let key = crate::PrivateKey::ed25519(&[7; 32]);
        let private = key.expose_text();
        let basic = |text: &str| {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
        };
        let damaged = private.replace("sk_", "sk_1");
        let found = || Some(BadPresented::PrivateKey(Some(Box::new(key.verifying_key()))));
        let cases = [
            (format!("Bearer {}", *private), found()),
            (format!("bearer  {}", *private), found()),
            (private.to_string(), found()),
            (format!("ApiKey key=\"{}\"", *private), found()),
            (format!("Bearer '{}'", *private), found()),
            (format!("Bearer {}%20", *private), found()),
            (format!("Bearer acme_{}", *private), found()),
            (basic(&private), found()),
            (basic(&format!("{}:", *private)), found()),
            (basic(&format!("user:{}", *private)), found()),
            (basic(&format!("user:{}", *private)).replace('=', ""), found()),
            (format!("Bearer {damaged}"), None),
            ("Bearer sk_live_of_another_service".into(), None),
            (format!("Bearer {}", key.publishable_key()), None),
            (basic("user:password"), None),
            (basic(&format!("user:{}", *private)).replace("Basic", "Digest"), None),
            (basic(&format!("{}:{}", "user".repeat(100), *private)), None),
            ("Basic ?".into(), None),
            (String::new(), None),
        ];
        for (value, expected) in cases {
            let outcome = find(KeyLocations::default(), &[("authorization", &value)], "");
            assert_eq!(outcome.err(), expected, "{value}");
        }
        // More lines than one are no credentials (RFC 9110 §11.6.2), and few are looked through.
        let private = format!("Bearer {}", *private);
        let lines = |before: usize| {
            let mut lines = vec![("authorization", "Bearer x"); before];
            lines.push(("authorization", &private));
            find(KeyLocations::default(), &lines, "").err()
        };
        assert_eq!((lines(0), lines(1), lines(2)), (found(), found(), None));
    }
}
