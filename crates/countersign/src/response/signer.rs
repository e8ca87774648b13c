use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::KeyRef;

use super::{
    OF_REQUEST, RequestSignature,
    policy::{self, RESPONSE_TAG},
};
use crate::{
    component::{Component, Derived},
    coverage::{cover_present, missing_digest},
    key::{KeyError, KeyId, PrivateKey, VerifyingKey},
    message::{Message, RequestHead, ResponseHead},
    policy::{BadPolicy, TAG, add, check_tag},
    prepared_signature::PreparedSignature,
    sign::{SignError, SignatureFields, SignatureParams, SignedFields, refuse_label, sign},
    signature_base::Rules,
    signature_input::{LabelledSignature, SignatureInput, write_components},
    timestamp::Timestamp,
};

const LABEL: &str = "countersign";

/// Signs responses as [`ResponsePolicy::default`](crate::ResponsePolicy) requires: bound to their requests.
///
/// The `keyid` is the key's JWK thumbprint (RFC 7638). The verifier finds the key in [`ServerKeys`](crate::ServerKeys).
///
/// ```
/// use countersign::{
///     Origin, PrivateKey, RequestHead, ResponseHead, ResponsePolicy, ResponseSigner, ServerKeys, Target,
///     Timestamp, UnverifiedResponse,
/// };
/// use http::{HeaderMap, Method, StatusCode, Uri};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (uri, now) = (Uri::from_static("/v1/orders"), Timestamp::from_unix(1_763_900_000));
/// let (origin, asked): (Origin, _) = ("https://api.example.com".parse()?, HeaderMap::new());
/// let target = Target::origin_form(&uri);
/// let request = RequestHead { method: &Method::GET, target, origin: &origin, headers: &asked };
///
/// // The server.
/// let signer = ResponseSigner::new(PrivateKey::ed25519(&[7; 32]))?;
/// let mut headers = HeaderMap::new();
/// let head = ResponseHead { status: StatusCode::OK, headers: &headers };
/// signer.sign(&head, &request, b"none", now)?.apply(&mut headers);
///
/// // The client, which knows the server's keys.
/// let keys = ServerKeys::new([signer.verifying_key()])?;
/// let head = ResponseHead { status: StatusCode::OK, headers: &headers };
/// let response = UnverifiedResponse::parse(head, request, &ResponsePolicy::default(), now)?;
/// let mut check = response.verify(&keys)?.read();
/// check.update(b"none");
/// check.finish()?; // from here on the content is the server's own response to this request
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ResponseSigner {
    key: PrivateKey,
    /// The end of the signature parameters, behind the time.
    named: String,
    request_tag: Box<str>,
    when_present: Vec<HeaderName>,
}

impl ResponseSigner {
    /// A signer with this Ed25519 key. Use the key for nothing else.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKind`] for an HMAC secret: a verifier of responses could also make them.
    pub fn new(key: PrivateKey) -> Result<Self, KeyError> {
        let wrong_kind = KeyError::WrongKind {
            found: "an HMAC secret, and every client that verifies with it could sign responses",
            wanted: "an Ed25519 key, as `countersign keygen` makes",
        };
        let thumbprint = key.publishable_key().thumbprint().ok_or(wrong_kind)?;
        let (key_id, algorithm) = (KeyId::Thumbprint(thumbprint), key.algorithm());
        let named = format!(r#";keyid="{key_id}";alg="{algorithm}";tag="{RESPONSE_TAG}""#);
        Ok(Self { key, named, request_tag: TAG.into(), when_present: policy::when_present() })
    }

    /// The tag of signed requests. Default: `countersign`.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Tag`].
    pub fn request_tag(mut self, tag: &str) -> Result<Self, BadPolicy> {
        self.request_tag = check_tag(tag)?.into();
        Ok(self)
    }

    /// Adds fields to cover when a response has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        add(&mut self.when_present, fields);
        self
    }

    /// The key that verifies its signatures.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// Signs the response with this content to `request`, as it was received. Add the result with
    /// [`SignedFields::apply`].
    ///
    /// A response without content by definition, as to `HEAD`, gets no `Content-Digest`. The response to a request whose
    /// signature fields are malformed, or under other tags alone, is bound to the request line and host alone: servers do
    /// not take such a request for a signed one.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn sign(
        &self,
        response: &ResponseHead<'_>,
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
    ) -> Result<SignedFields, SignError> {
        let headers = response.headers;
        let label = KeyRef::constant(LABEL);
        refuse_label(headers, label)?;
        refuse_tag(headers)?;
        let content_digest = match response.may_have_content(request.method) {
            true => missing_digest(headers, content)?,
            false => None,
        };
        let bound = RequestSignature::of(request, &self.request_tag);
        let bound = bound.unwrap_or(RequestSignature::Foreign);
        let mut components = Vec::with_capacity(14);
        components.push(Component::from(Derived::Status));
        cover_present(&mut components, &self.when_present, headers, content_digest.as_ref())?;
        components.extend(OF_REQUEST.map(|(derived, _)| Component::of_request(derived)));
        components.extend(bound.components().map(|(component, _)| component));
        let mut signature_params = String::with_capacity(416);
        write_components(&mut signature_params, &components);
        signature_params.push_str(";created=");
        signature_params.push_str(&created.to_string());
        signature_params.push_str(&self.named);
        let message = Message::from(*response)
            .with_request(*request)
            .with_content_digest(content_digest.as_ref());
        let rules = Rules::Policy;
        let prepared =
            PreparedSignature::new(&message, label, &components, signature_params, rules)?;
        Ok(SignedFields { content_digest, signature: prepared.sign(&self.key)? })
    }

    /// Also signs a key directory (draft-meunier-http-message-signatures-directory): the holder of the private key states
    /// that it belongs to this authority, so that no other server can show the key as its own.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn sign_directory(
        &self,
        response: &ResponseHead<'_>,
        request: &RequestHead<'_>,
        created: Timestamp,
        lifetime: Duration,
    ) -> Result<SignatureFields, SignError> {
        let key_id = self.key.publishable_key().thumbprint().map(KeyId::Thumbprint);
        let key_id = key_id.map(|id| id.to_string());
        let params = SignatureParams {
            label: "directory",
            components: vec![Component::of_request(Derived::Authority)],
            created: Some(created),
            expires: Some(created.plus(lifetime)),
            nonce: None,
            key_id: key_id.as_deref(),
            algorithm: Some(self.key.algorithm()),
            tag: Some("http-message-signatures-directory"),
        };
        sign(&Message::from(*response).with_request(*request), &self.key, &params)
    }
}

/// Two signatures under one tag leave open which one is this server's.
fn refuse_tag(headers: &HeaderMap) -> Result<(), SignError> {
    let signatures = SignatureInput::all(headers).map_err(|_| SignError::Labelled)?;
    let ours =
        |signature: &LabelledSignature<'_>| signature.input.string("tag") == Ok(Some(RESPONSE_TAG));
    match signatures.iter().any(ours) {
        true => Err(SignError::Labelled),
        false => Ok(()),
    }
}
