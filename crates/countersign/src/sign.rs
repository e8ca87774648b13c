use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use sfv::{KeyRef, StringRef};

use crate::{
    AcceptSignature, Algorithm, BadBase, BadPolicy, Component, ContentDigest, Derived, Message,
    Nonce, Origin, PreparedSignature, PrivateKey, RequestHead, SignatureBase, SignatureInput,
    Signs, Target, Timestamp, Unmeetable,
    coverage::Coverage,
    digest::CONTENT_DIGEST,
    parameter::{Value, write_parameter},
    signature_input::{SIGNATURE, SIGNATURE_INPUT, write_components},
};

/// What to sign, and what to say of it (RFC 9421 §2.3). Parameters are written in the order of these fields.
#[derive(Clone, Debug)]
pub struct SignatureParams<'a> {
    /// The label that pairs the two fields. It means nothing.
    pub label: &'a str,
    /// The covered components, in the order of the signature base.
    pub components: Vec<Component<'a>>,
    /// When the signature is made.
    pub created: Option<Timestamp>,
    /// When it stops being good.
    pub expires: Option<Timestamp>,
    /// What makes it good for one request.
    pub nonce: Option<&'a str>,
    /// Which key to verify it with.
    pub key_id: Option<&'a str>,
    /// The algorithm, which has to be the key's.
    pub algorithm: Option<Algorithm>,
    /// The application that it is for.
    pub tag: Option<&'a str>,
}

/// Why a message cannot be signed. It is left as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signature base must not be created.
    #[error("the message cannot be signed: {0}")]
    Base(#[from] BadBase),
    /// A label that is no structured-field key, or a parameter that is no structured-field String.
    #[error("the {0} cannot be written in a signature field")]
    Parameter(&'static str),
    /// A component occurs twice.
    #[error("a component is covered twice")]
    DuplicateComponent,
    /// The message has a signature with this label or, if it is an answer, under the tag of signed answers; or
    /// signature fields that are malformed.
    #[error(
        "the message already has a signature with this label or tag, or malformed signature fields"
    )]
    Labelled,
    /// The message has a `Content-Digest` that is not the content's.
    #[error("the message already has a Content-Digest, and it is not the content's")]
    ContentDigest,
    /// A field that has to be covered occurs twice, which servers refuse.
    #[error("the field {0} occurs more than once and has to be covered")]
    RepeatedField(HeaderName),
    /// The request's URI names no origin that it could be for, or `Host` names another.
    #[error("the request's URI has no http or https origin, or its Host names another")]
    Origin,
    /// A signature that was made elsewhere, and does not hold.
    #[error("the signature does not hold with the key that it should be of")]
    Signature,
    /// The target is one that servers refuse.
    #[error("{0}")]
    Target(#[from] crate::BadTarget),
}

/// The two fields of a signature. [`SignatureFields::apply`] adds them to a message's head.
#[derive(Clone, Debug)]
pub struct SignatureFields {
    /// The member to add to `Signature-Input`.
    pub input: HeaderValue,
    /// The member to add to `Signature`.
    pub signature: HeaderValue,
    /// What was signed.
    pub base: SignatureBase,
}

impl SignatureFields {
    /// Adds the fields to a message's head, behind the signatures that it may have.
    pub fn apply(self, headers: &mut HeaderMap) {
        headers.append(SIGNATURE_INPUT, self.input);
        headers.append(SIGNATURE, self.signature);
    }
}

/// Signs a message, with a [`PrivateKey`] or with an [`AnyPrivateKey`](crate::AnyPrivateKey) of another algorithm.
///
/// # Errors
///
/// [`SignError`].
pub fn sign(
    message: &Message<'_>,
    key: &impl Signs,
    params: &SignatureParams<'_>,
) -> Result<SignatureFields, SignError> {
    PreparedSignature::of(message, params)?.sign(key)
}

pub(crate) fn refuse_label(headers: &HeaderMap, label: &KeyRef) -> Result<(), SignError> {
    let signatures = SignatureInput::all(headers).map_err(|_| SignError::Labelled)?;
    match signatures.iter().any(|signature| signature.input.label() == label.as_str()) {
        true => Err(SignError::Labelled),
        false => Ok(()),
    }
}

pub(crate) fn signature_params(params: &SignatureParams<'_>) -> Result<String, SignError> {
    for (at, component) in params.components.iter().enumerate() {
        if params.components.iter().skip(at.saturating_add(1)).any(|other| other == component) {
            return Err(SignError::DuplicateComponent);
        }
    }
    let mut text = String::with_capacity(256);
    write_components(&mut text, &params.components);
    let times = [("created", params.created), ("expires", params.expires)];
    for (key, time) in times {
        let Some(time) = time else { continue };
        let seconds = i64::try_from(time.unix()).ok();
        let seconds = seconds.and_then(|seconds| sfv::Integer::try_from(seconds).ok());
        let seconds = seconds.ok_or(SignError::Parameter(key))?;
        write_parameter(&mut text, key, &Value::Integer(seconds));
    }
    let algorithm = params.algorithm.map(Algorithm::as_str);
    let strings = [
        ("nonce", params.nonce),
        ("keyid", params.key_id),
        ("alg", algorithm),
        ("tag", params.tag),
    ];
    for (key, value) in strings {
        let Some(value) = value else { continue };
        let value = StringRef::from_str(value).map_err(|_| SignError::Parameter(key))?;
        write_parameter(&mut text, key, &Value::Text(Cow::Borrowed(value.as_str())));
    }
    Ok(text)
}

/// Signs requests the way [`Policy::default`](crate::Policy) wants them.
///
/// Covered are `@method`, `@authority`, `@path`, `@query`, `content-digest` when there is content, and when present
/// `content-type`, `content-encoding`, `authorization`, `idempotency-key`, the fields that override a method or a target,
/// [`CONDITIONAL_FIELDS`](crate::CONDITIONAL_FIELDS), and whatever [`Signer::cover_when_present`] adds.
#[derive(Debug)]
pub struct Signer {
    key: PrivateKey,
    coverage: Coverage,
}

impl Signer {
    /// A signer with this key, under the tag `countersign`.
    pub fn new(key: PrivateKey) -> Self {
        let coverage = Coverage::new(key.publishable_key());
        Self { key, coverage }
    }

    /// The tag that the server selects its signatures by. Default: `countersign`.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Tag`].
    pub fn tag(mut self, tag: &str) -> Result<Self, BadPolicy> {
        self.coverage.set_tag(tag)?;
        Ok(self)
    }

    /// Adds derived components to cover in every request, as [`Policy::cover_always`](crate::Policy::cover_always) asks
    /// for: [`Derived::Scheme`], [`Derived::TargetUri`].
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Component`].
    pub fn cover_always(
        mut self,
        components: impl IntoIterator<Item = Derived>,
    ) -> Result<Self, BadPolicy> {
        self.coverage.add_always(components)?;
        Ok(self)
    }

    /// Adds fields to cover when a request has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.coverage.add_when_present(fields);
        self
    }

    /// The tag of its signatures.
    pub const fn selected_tag(&self) -> &str {
        self.coverage.tag()
    }

    /// The publishable half of the key that signs.
    pub fn publishable_key(&self) -> crate::PublishableKey {
        self.key.publishable_key()
    }

    /// What `asked` wants covered and [`Signer::sign`] does not cover anyway, for [`Signer::sign_covering`].
    ///
    /// # Errors
    ///
    /// [`Unmeetable`]: it is asked of another key or under another tag, or with a nonce or an expiry, which this signer
    /// does not take from others. What the request does not have is noticed when it is signed.
    pub fn asked_beyond<'a>(
        &self,
        asked: &AcceptSignature<'a>,
    ) -> Result<Vec<Component<'a>>, Unmeetable> {
        self.coverage.asked_beyond(asked)
    }

    /// Signs `request` with this content. [`SignedFields::apply`] adds what came of it.
    ///
    /// Every attempt needs a `nonce` of its own, from [`Nonce::from_random`].
    ///
    /// # Errors
    ///
    /// [`SignError`]; among them a target that servers refuse, so that it is known before it is sent.
    pub fn sign(
        &self,
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        self.sign_covering(&[], request, content, created, nonce)
    }

    /// As [`Signer::sign`], and covers `more` beside all that is covered anyway.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`]; also [`SignError::Base`] if the request does not have one of them, or on several lines.
    pub fn sign_covering(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        let (content_digest, prepared) =
            self.coverage.prepare(more, request, content, created, nonce)?;
        Ok(SignedFields { content_digest, signature: prepared.sign(&self.key)? })
    }

    /// As [`Signer::sign`], for content that is not in memory: `content` is its digest, `None` if the request has no
    /// content. A [`RunningDigest`](crate::RunningDigest) makes it while the content is read.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`]; also [`SignError::ContentDigest`] if the request has a `Content-Digest` with a digest that
    /// `content` does not hold.
    pub fn sign_digested(
        &self,
        request: &RequestHead<'_>,
        content: Option<&ContentDigest>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        self.sign_digested_covering(&[], request, content, created, nonce)
    }

    /// As [`Signer::sign_digested`], and covers `more` beside all that is covered anyway.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign_digested`]; also [`SignError::Base`] if the request does not have one of them, or on several lines.
    pub fn sign_digested_covering(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: Option<&ContentDigest>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        let (content_digest, prepared) =
            self.coverage.prepare_digested(more, request, content, created, nonce)?;
        Ok(SignedFields { content_digest, signature: prepared.sign(&self.key)? })
    }

    /// Signs an [`http::Request`] and adds the fields to it. Its URI is the whole one, as `https://api.example.com/v1/orders`.
    ///
    /// The request is then ready for any client that sends its path and query as they are, its `Host` as the URI's
    /// authority, and its body as it is.
    ///
    /// ```
    /// # use countersign::{Nonce, PrivateKey, Signer, Timestamp};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let signer = Signer::new(PrivateKey::ed25519(&[7; 32]));
    /// # let (now, random) = (Timestamp::from_unix(1_763_900_000), [9; 16]);
    /// let mut request = http::Request::post("https://api.example.com/v1/orders").body("{}")?;
    /// signer.sign_request(&mut request, now, &Nonce::from_random(random))?;
    /// assert!(request.headers().contains_key("signature"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`]; [`SignError::Origin`] if the URI has no `http` or `https` origin, or a `Host` field names another.
    pub fn sign_request<B: AsRef<[u8]>>(
        &self,
        request: &mut http::Request<B>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<(), SignError> {
        let uri = request.uri();
        let origin = Origin::of_uri(uri).map_err(|_| SignError::Origin)?;
        if !origin.agrees_with_host(request.headers()) {
            return Err(SignError::Origin);
        }
        let head = RequestHead {
            method: request.method(),
            target: Target::origin_form(uri),
            origin: &origin,
            headers: request.headers(),
        };
        let fields = self.sign(&head, request.body().as_ref(), created, nonce)?;
        fields.apply(request.headers_mut());
        Ok(())
    }
}

/// What signing a request or an answer adds to its head.
#[derive(Clone, Debug)]
pub struct SignedFields {
    /// The `Content-Digest`, if there is content and the message had none.
    pub content_digest: Option<HeaderValue>,
    /// The signature.
    pub signature: SignatureFields,
}

impl SignedFields {
    /// Adds the fields to the message's head.
    pub fn apply(self, headers: &mut HeaderMap) {
        if let Some(digest) = self.content_digest {
            headers.insert(CONTENT_DIGEST, digest);
        }
        self.signature.apply(headers);
    }
}

/// The `Content-Digest` to add, if there is content and no such field; one that is there has to be the content's.
pub(crate) fn missing_digest(
    headers: &HeaderMap,
    content: &[u8],
) -> Result<Option<HeaderValue>, SignError> {
    if headers.contains_key(CONTENT_DIGEST) {
        check_digest(headers, content)?;
        return Ok(None);
    }
    if content.is_empty() {
        return Ok(None);
    }
    let digest = ContentDigest::sha256(content).to_header();
    digest.map(Some).map_err(|_| SignError::ContentDigest)
}

/// Adds the fields of a list that are present, or are added now.
pub(crate) fn cover_present<'a>(
    components: &mut Vec<Component<'a>>,
    when_present: &'a [HeaderName],
    headers: &HeaderMap,
    content_digest: Option<&HeaderValue>,
) -> Result<(), SignError> {
    for field in when_present {
        let mut lines = headers.get_all(field).iter();
        let made = content_digest.is_some() && *field == CONTENT_DIGEST;
        if lines.next().is_none() && !made {
            continue;
        }
        if lines.next().is_some() && *field != COOKIE {
            return Err(SignError::RepeatedField(field.clone()));
        }
        components.push(Component::field(field));
    }
    Ok(())
}

fn check_digest(headers: &HeaderMap, content: &[u8]) -> Result<(), SignError> {
    let digest = ContentDigest::from_headers(headers).ok().flatten();
    let mut check = digest.ok_or(SignError::ContentDigest)?.check();
    check.update(content);
    check.finish().map_err(|_| SignError::ContentDigest)
}
