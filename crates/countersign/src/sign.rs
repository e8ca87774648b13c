use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{KeyRef, StringRef};

use crate::{
    Algorithm, BadBase, BadPolicy, Component, ContentDigest, Message, Nonce, PrivateKey,
    RequestHead, SignatureBase, SignatureInput, Timestamp,
    component::Derived,
    digest::CONTENT_DIGEST,
    policy,
    signature_input::{SIGNATURE, SIGNATURE_INPUT, write_components, write_parameter},
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
    /// The message has a signature with this label, or signature fields that are malformed.
    #[error("the message already has a signature with this label, or malformed signature fields")]
    Labelled,
    /// The message has a `Content-Digest` that is not the content's.
    #[error("the message already has a Content-Digest, and it is not the content's")]
    ContentDigest,
    /// A field that has to be covered occurs twice, which servers refuse.
    #[error("the field {0} occurs more than once and has to be covered")]
    RepeatedField(HeaderName),
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

/// Signs a message.
///
/// # Errors
///
/// [`SignError`].
pub fn sign(
    message: &Message<'_>,
    key: &PrivateKey,
    params: &SignatureParams<'_>,
) -> Result<SignatureFields, SignError> {
    let label = KeyRef::from_str(params.label).map_err(|_| SignError::Parameter("label"))?;
    let signatures = SignatureInput::all(message.headers()).map_err(|_| SignError::Labelled)?;
    if signatures.iter().any(|signature| signature.input.label() == label.as_str()) {
        return Err(SignError::Labelled);
    }
    let signature_params = signature_params(params)?;
    let base = SignatureBase::new(message, &params.components, &signature_params)?;
    let signature = key.sign(base.as_bytes());
    let digits = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode(signature)
    };
    let field = |text: String| {
        HeaderValue::try_from(text).map_err(|_| SignError::Parameter("signature parameters"))
    };
    Ok(SignatureFields {
        input: field(format!("{label}={signature_params}"))?,
        signature: field(format!("{label}=:{digits}:"))?,
        base,
    })
}

fn signature_params(params: &SignatureParams<'_>) -> Result<String, SignError> {
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
        write_parameter(&mut text, sfv::KeyRef::constant(key), seconds);
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
        write_parameter(&mut text, sfv::KeyRef::constant(key), value);
    }
    Ok(text)
}

/// Signs requests the way [`Policy::default`](crate::Policy) wants them.
///
/// Covered are `@method`, `@authority`, `@path`, `@query`, `content-digest` when there is content, and when present
/// `content-type`, `content-encoding`, `authorization`, `idempotency-key`, the fields that override a method, and
/// whatever [`Signer::cover_when_present`] adds.
#[derive(Debug)]
pub struct Signer {
    key: PrivateKey,
    key_id: String,
    tag: String,
    when_present: Vec<HeaderName>,
}

impl Signer {
    /// A signer with this key, under the tag `countersign`.
    pub fn new(key: PrivateKey) -> Self {
        let key_id = key.publishable_key().to_string();
        let when_present = policy::when_present();
        Self { key, key_id, tag: policy::TAG.to_owned(), when_present }
    }

    /// The tag that the server selects its signatures by. Default: `countersign`.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Tag`].
    pub fn tag(mut self, tag: &str) -> Result<Self, BadPolicy> {
        if tag.is_empty() || StringRef::from_str(tag).is_err() {
            return Err(BadPolicy::Tag);
        }
        tag.clone_into(&mut self.tag);
        Ok(self)
    }

    /// Adds fields to cover when a request has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.when_present.extend(fields);
        self
    }

    /// The publishable half of the key that signs.
    pub fn publishable_key(&self) -> crate::PublishableKey {
        self.key.publishable_key()
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
        request.target.check()?;
        let mut headers = request.headers.clone();
        let content_digest = if headers.contains_key(CONTENT_DIGEST) {
            check_digest(&headers, content)?;
            None
        } else if content.is_empty() {
            None
        } else {
            let digest = ContentDigest::sha256(content).to_header();
            let digest = digest.map_err(|_| SignError::ContentDigest)?;
            headers.insert(CONTENT_DIGEST, digest.clone());
            Some(digest)
        };
        let derived = [Derived::Method, Derived::Authority, Derived::Path, Derived::Query];
        let mut components: Vec<_> = derived.into_iter().map(Component::from).collect();
        for field in self.when_present.iter().filter(|field| headers.contains_key(*field)) {
            if headers.get_all(field).iter().nth(1).is_some() {
                return Err(SignError::RepeatedField(field.clone()));
            }
            let component = Component::field(field);
            if !components.contains(&component) {
                components.push(component);
            }
        }
        let message = RequestHead { headers: &headers, ..*request };
        let params = SignatureParams {
            label: "sig",
            components,
            created: Some(created),
            expires: None,
            nonce: Some(nonce.as_str()),
            key_id: Some(&self.key_id),
            algorithm: Some(self.key.algorithm()),
            tag: Some(&self.tag),
        };
        let signature = sign(&message.into(), &self.key, &params)?;
        Ok(SignedFields { content_digest, signature })
    }
}

/// What signing a request adds to its head.
#[derive(Clone, Debug)]
pub struct SignedFields {
    /// The `Content-Digest`, if there is content and the request had none.
    pub content_digest: Option<HeaderValue>,
    /// The signature.
    pub signature: SignatureFields,
}

impl SignedFields {
    /// Adds the fields to the request's head.
    pub fn apply(self, headers: &mut HeaderMap) {
        if let Some(digest) = self.content_digest {
            headers.insert(CONTENT_DIGEST, digest);
        }
        self.signature.apply(headers);
    }
}

fn check_digest(headers: &HeaderMap, content: &[u8]) -> Result<(), SignError> {
    let digest = ContentDigest::from_headers(headers).ok().flatten();
    let mut check = digest.ok_or(SignError::ContentDigest)?.check();
    check.update(content);
    check.finish().map_err(|_| SignError::ContentDigest)
}
