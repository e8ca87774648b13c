use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    algorithm::Algorithm,
    bad_base::BadBase,
    component::Component,
    dictionary::{self, Lines},
    key::{KeyId, PrivateKey, PublishableKey},
    malformed::Malformed,
    message::Message,
    parameter::{Value, write_string},
    sign::SignatureParams,
    signature_base::{Rules, SignatureBase},
    signature_input::{MAX_LABELS, MAX_SIGNATURE_FIELDS, SignatureInput, write_components},
    timestamp::Timestamp,
};

/// The name of the `Accept-Signature` field (RFC 9421 §5.1).
pub const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

/// A signature that the other side asks for: a member of `Accept-Signature` (RFC 9421 §5.1).
///
/// In a response it asks for a signature of the next request, and in a request for a signature of its response. It comes
/// from a stranger: a signer refuses a request for a signature that it cannot make, and signs nothing else instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptSignature<'a> {
    label: Cow<'a, str>,
    components: Vec<Component<'a>>,
    /// Whether `created` is asked for.
    created: bool,
    /// Whether `expires` is asked for.
    expires: bool,
    nonce: Option<Cow<'a, str>>,
    algorithm: Option<Cow<'a, str>>,
    key_id: Option<Cow<'a, str>>,
    tag: Option<Cow<'a, str>>,
}

/// Why the requested signature cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmeetable {
    /// `alg` is unknown, or not the algorithm of the key at hand.
    #[error("the requested signature has an algorithm other than the key's")]
    Algorithm,
    /// `keyid` does not name the key at hand.
    #[error("the requested signature has another key")]
    KeyId,
    /// `tag` is for another application.
    #[error("the requested signature has another tag")]
    Tag,
    /// `nonce` has a value, and the signature is to have its own.
    #[error("the requested signature has a nonce of the peer's")]
    Nonce,
    /// `expires` is asked for, and the caller gave no time.
    #[error("the requested signature has an expiry, and its time is not given")]
    Expires,
    /// A component that the message lacks or cannot have: `req` in a request.
    #[error("the requested signature cannot be made: {0}")]
    Base(#[from] BadBase),
}

impl<'a> AcceptSignature<'a> {
    pub(crate) fn of_policy(components: Vec<Component<'a>>, tag: &'a str) -> Self {
        Self {
            label: Cow::Borrowed("sig"),
            components,
            created: true,
            expires: false,
            nonce: None,
            algorithm: None,
            key_id: None,
            tag: Some(Cow::Borrowed(tag)),
        }
    }

    /// The label for the signature.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The components to cover.
    pub fn components(&self) -> &[Component<'a>] {
        &self.components
    }

    /// The required `tag`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The required `nonce`.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Whether it has to say when it expires.
    pub fn asks_for_expiry(&self) -> bool {
        self.expires
    }

    /// The parameters of the requested signature of `message`, made at `created` with this key. Parameters that are not
    /// asked for are `None`, and you may add them.
    ///
    /// # Errors
    ///
    /// [`Unmeetable`].
    pub fn signature_params(
        &self,
        message: &Message<'_>,
        key: &PrivateKey,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<SignatureParams<'_>, Unmeetable> {
        self.suits(&key.publishable_key())?;
        SignatureBase::new(message, &self.components, "", Rules::Rfc)?;
        let expires = match self.expires {
            true => Some(expires.ok_or(Unmeetable::Expires)?),
            false => None,
        };
        Ok(SignatureParams {
            label: &self.label,
            components: self.components.clone(),
            created: self.created.then_some(created),
            expires,
            nonce: self.nonce.as_deref(),
            key_id: self.key_id.as_deref(),
            algorithm: self.algorithm.as_ref().map(|_| key.algorithm()),
            tag: self.tag.as_deref(),
        })
    }

    /// Whether this key can make it.
    pub(crate) fn suits(&self, key: &PublishableKey) -> Result<(), Unmeetable> {
        let is_ours = |name: &str| name.parse::<Algorithm>() == Ok(key.algorithm());
        if !self.algorithm.as_deref().is_none_or(is_ours) {
            return Err(Unmeetable::Algorithm);
        }
        let names_it = |text: &str| text.parse::<KeyId>().is_ok_and(|key_id| key_id.names(key));
        if self.key_id.as_deref().is_none_or(names_it) { Ok(()) } else { Err(Unmeetable::KeyId) }
    }

    /// The value of the field.
    ///
    /// # Errors
    ///
    /// Always succeeds: the text is printable ASCII.
    pub fn to_header(&self) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        HeaderValue::try_from(self.to_string())
    }
}

impl AcceptSignature<'static> {
    /// The signatures that a message asks for; empty without the field.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: as for `Signature-Input`, and for a parameter that is unknown or has the wrong type.
    pub fn all(headers: &HeaderMap) -> Result<Vec<Self>, Malformed> {
        let lines = Lines::of(headers, &ACCEPT_SIGNATURE);
        let members = dictionary::read(lines, MAX_LABELS, MAX_SIGNATURE_FIELDS)?;
        members.unwrap_or_default().into_iter().map(|(_, raw)| Self::parse_member(raw)).collect()
    }

    fn parse_member(raw: &str) -> Result<Self, Malformed> {
        let input = SignatureInput::parse_member(raw)?;
        let components = input.components()?.iter().cloned().map(Component::into_owned).collect();
        if let Some(parameter) = input.unknown_parameter() {
            return Err(Malformed::UnknownParameter(parameter.into()));
        }
        let text = |key| -> Result<Option<Cow<'static, str>>, Malformed> {
            Ok(input.string(key)?.map(|text| Cow::Owned(text.to_owned())))
        };
        let asked = |key| match input.parameter(key) {
            None => Ok(false),
            Some(Value::Flag) => Ok(true),
            Some(_) => Err(Malformed::ParameterType(key)),
        };
        Ok(Self {
            label: Cow::Owned(input.label().to_owned()),
            components,
            created: asked("created")?,
            expires: asked("expires")?,
            nonce: text("nonce")?,
            algorithm: text("alg")?,
            key_id: text("keyid")?,
            tag: text("tag")?,
        })
    }
}

impl fmt::Display for AcceptSignature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(128);
        text.push_str(&self.label);
        text.push('=');
        write_components(&mut text, &self.components);
        for (key, asked) in [(";created", self.created), (";expires", self.expires)] {
            if asked {
                text.push_str(key);
            }
        }
        let strings = [
            (";nonce=", &self.nonce),
            (";keyid=", &self.key_id),
            (";alg=", &self.algorithm),
            (";tag=", &self.tag),
        ];
        for (key, value) in strings {
            if let Some(value) = value {
                text.push_str(key);
                write_string(&mut text, value);
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        component::BadComponent, message::RequestHead, origin::Origin, sign::sign, target::Target,
    };

    fn read(field: &str) -> Result<Vec<AcceptSignature<'static>>, Malformed> {
        let headers = HeaderMap::from_iter([(ACCEPT_SIGNATURE, field.parse().unwrap())]);
        AcceptSignature::all(&headers)
    }

    #[test]
    fn it_prints_what_it_reads() {
        let table = [
            "sig=()",
            r#"sig=("@method" "x";sf "@query-param";name="a\"b");created;tag="a\\b""#,
            r#"s=("@status" "@path";req);created;expires;nonce="n";keyid="k";alg="ed25519";tag="t""#,
        ];
        for field in table {
            let asked = read(field).unwrap();
            assert_eq!(asked.len(), 1);
            assert_eq!(asked[0].to_string(), field);
            assert_eq!(read(&asked[0].to_string()), Ok(asked));
        }
        // RFC 9421 §5.1.
        let field = r#"sig1=("@method" "@target-uri" "@authority" "content-digest" "cache-control");keyid="test-key-rsa-pss";created;tag="app-123""#;
        let asked = read(&format!("{field}, b=(\"@path\");created=?1")).unwrap();
        assert_eq!(asked[0].components().len(), 5);
        assert_eq!(asked[0].tag(), Some("app-123"));
        assert_eq!((asked[1].label(), asked[1].created), ("b", true));
        assert_eq!(AcceptSignature::all(&HeaderMap::new()), Ok(Vec::new()));
    }

    #[test]
    fn it_is_read_as_strictly_as_signature_input() {
        let components: Vec<_> = (0..33).map(|at| format!("\"x{at}\"")).collect();
        let labels: Vec<_> = (0..9).map(|at| format!("s{at}=()")).collect();
        let parameter = Malformed::ParameterType;
        let table: [(&str, Malformed); 17] = [
            ("", Malformed::NotADictionary),
            ("sig", Malformed::NotAnInnerList),
            ("sig=1", Malformed::NotAnInnerList),
            ("sig=(),", Malformed::NotADictionary),
            ("sig=(), sig=()", Malformed::DuplicateKey),
            ("sig=(a)", BadComponent::NotAString.into()),
            (r#"sig=("@foo")"#, BadComponent::UnknownDerived.into()),
            (r#"sig=("x" "x")"#, Malformed::DuplicateComponent),
            ("sig=();created;created", Malformed::DuplicateParameter),
            ("sig=();other", Malformed::UnknownParameter("other".into())),
            ("sig=();created=1763900000", parameter("created")),
            ("sig=();created=?0", parameter("created")),
            (r#"sig=();expires="1""#, parameter("expires")),
            ("sig=();tag", parameter("tag")),
            ("sig=();keyid=abc", parameter("keyid")),
            (&format!("sig=({})", components.join(" ")), Malformed::TooManyComponents),
            (&labels.join(", "), Malformed::TooManyMembers),
        ];
        for (field, reason) in table {
            assert_eq!(read(field), Err(reason), "{field}");
        }
        let long = format!(r#"sig=();tag="{}""#, "a".repeat(MAX_SIGNATURE_FIELDS));
        assert_eq!(read(&long), Err(Malformed::TooLong));
    }

    #[test]
    fn what_cannot_be_met_is_refused_and_all_else_is_signed() {
        let key = PrivateKey::ed25519(&[5; 32]);
        let ours = key.publishable_key();
        let other = PrivateKey::ed25519(&[6; 32]).publishable_key();
        let (uri, origin) = ("/a?b=1".parse().unwrap(), "https://example.com");
        let origin: Origin = origin.parse().unwrap();
        let headers =
            HeaderMap::from_iter([(http::header::RANGE, HeaderValue::from_static("bytes=0-1"))]);
        let target = Target::origin_form(&uri);
        let request =
            RequestHead { method: &Method::GET, target, origin: &origin, headers: &headers };
        let message = Message::from(request);
        let now = Timestamp::from_unix(1_763_900_000);
        let absent = |text: &str| Unmeetable::Base(BadBase::Absent(text.to_owned()));
        let inapplicable = |text: &str| Unmeetable::Base(BadBase::NotApplicable(text.to_owned()));
        let table = [
            (r#"sig=("@method" "range");created;tag="t""#.to_owned(), None),
            (format!(r#"sig=("@path");alg="ed25519";keyid="{ours}";nonce="n""#), None),
            (r#"sig=("@path");alg="hmac-sha256""#.into(), Some(Unmeetable::Algorithm)),
            (r#"sig=("@path");alg="rsa-v9""#.into(), Some(Unmeetable::Algorithm)),
            (format!(r#"sig=("@path");keyid="{other}""#), Some(Unmeetable::KeyId)),
            (r#"sig=("@path");keyid="x""#.into(), Some(Unmeetable::KeyId)),
            (r#"sig=("@path");expires"#.into(), Some(Unmeetable::Expires)),
            (r#"sig=("accept")"#.into(), Some(absent(r#""accept""#))),
            (r#"sig=("@method";req)"#.into(), Some(inapplicable(r#""@method";req"#))),
            (r#"sig=("@status")"#.into(), Some(inapplicable(r#""@status""#))),
        ];
        for (field, refused) in table {
            let asked = read(&field).unwrap().remove(0);
            let params = asked.signature_params(&message, &key, now, None);
            assert_eq!(params.as_ref().err(), refused.as_ref(), "{field}");
            let Ok(params) = params else { continue };
            let fields = sign(&message, &key, &params).unwrap();
            let written = field.replace(";created", ";created=1763900000");
            let read_back = SignatureInput::parse_member(fields.input.to_str().unwrap()).unwrap();
            let expected = SignatureInput::parse_member(&written).unwrap();
            assert_eq!(read_back.components(), expected.components(), "{field}");
            for name in ["created", "expires", "nonce", "keyid", "alg", "tag"] {
                assert_eq!(read_back.parameter(name), expected.parameter(name), "{field}: {name}");
            }
        }
        let asked = read("sig=();expires").unwrap().remove(0);
        let later = asked.signature_params(&message, &key, now, Some(now)).unwrap();
        assert_eq!(later.expires, Some(now));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_printed_as_it_would_be_read_again(
            list in "[ -~]{0,60}",
            parameters in "(;(created|expires|tag=\"[ -~]{0,9}\"|nonce=\"[a-z]{0,9}\"|x)){0,4}",
        ) {
            for field in [format!("sig=({list}){parameters}"), format!("sig=(\"@path\"){parameters}")] {
                if let Ok(asked) = read(&field) {
                    let printed: Vec<_> = asked.iter().map(ToString::to_string).collect();
                    prop_assert_eq!(read(&printed.join(", ")), Ok(asked));
                }
            }
        }
    }
}
