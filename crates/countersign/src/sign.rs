use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{KeyRef, StringRef};

use crate::{
    algorithm::Algorithm,
    bad_base::BadBase,
    component::Component,
    field_name::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT},
    key::Signs,
    message::Message,
    parameter::{Value, write_parameter},
    prepared_signature::PreparedSignature,
    signature_base::SignatureBase,
    signature_input::{SignatureInput, write_components},
    timestamp::Timestamp,
};

/// The components and the parameters of a signature (RFC 9421 §2.3). Parameters are written in the order of these fields.
#[derive(Clone, Debug)]
pub struct SignatureParams<'a> {
    /// The label that pairs the two fields. It has no other meaning.
    pub label: &'a str,
    /// The covered components, in the order of the signature base.
    pub components: Vec<Component<'a>>,
    /// When the signature is made.
    pub created: Option<Timestamp>,
    /// When it stops being good.
    pub expires: Option<Timestamp>,
    /// The nonce, which makes the signature good for one request.
    pub nonce: Option<&'a str>,
    /// The key to verify with.
    pub key_id: Option<&'a str>,
    /// The algorithm. It has to match the key.
    pub algorithm: Option<Algorithm>,
    /// The application that the signature is for.
    pub tag: Option<&'a str>,
}

/// Why a message cannot be signed. It is left as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signature base must not be created.
    #[error("the message cannot be signed: {0}")]
    Base(#[from] BadBase),
    /// A label that is not a structured-field key, or a parameter that is not a structured-field String.
    #[error("the {0} cannot be written in a signature field")]
    Parameter(&'static str),
    /// A component occurs twice.
    #[error("a component is covered twice")]
    DuplicateComponent,
    /// The message has a signature with this label, malformed signature fields, or, as a response, a signature under the
    /// tag of signed responses.
    #[error(
        "the message already has a signature with this label or tag, or malformed signature fields"
    )]
    Labelled,
    /// The message has a `Content-Digest` that does not match the content.
    #[error("the message already has a Content-Digest, and it is not the content's")]
    ContentDigest,
    /// A field to cover occurs twice, which servers refuse.
    #[error("the field {0} occurs more than once and has to be covered")]
    RepeatedField(HeaderName),
    /// The request's URI has no origin, or `Host` names another.
    #[error("the request's URI has no http or https origin, or its Host names another")]
    Origin,
    /// The signature of a remote key is invalid.
    #[error("the signature is not valid for the expected key")]
    Signature,
    /// Servers refuse the target.
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
    /// The signed bytes.
    pub base: SignatureBase,
}

impl SignatureFields {
    /// Adds the fields to a message's head, after its other signatures.
    pub fn apply(self, headers: &mut HeaderMap) {
        headers.append(SIGNATURE_INPUT, self.input);
        headers.append(SIGNATURE, self.signature);
    }
}

/// Signs a message, with a [`PrivateKey`](crate::PrivateKey) or with an [`AnyPrivateKey`](crate::AnyPrivateKey) of another algorithm.
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

/// The fields that signing adds to the head of a request or a response.
#[derive(Clone, Debug)]
pub struct SignedFields {
    /// The `Content-Digest`, if there is content and the message did not have the field.
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
