use http::HeaderValue;

use crate::{
    algorithm::Algorithm,
    component::Component,
    coverage::{Coverage, coverage_setters},
    digest::ContentDigest,
    key::{KeyError, PublishableKey, VerifyingKey},
    message::RequestHead,
    nonce::Nonce,
    prepared_signature::PreparedSignature,
    sign::{SignError, SignedFields},
    signature_base::SignatureBase,
    timestamp::Timestamp,
};

/// Signs requests like [`Signer`](crate::Signer), with a key elsewhere: in a KMS, an HSM, or an agent.
///
/// You get the bytes to sign, have them signed, and attach the signature.
///
/// ```
/// # use countersign::{Nonce, Origin, PrivateKey, RemoteSigner, RequestHead, Target, Timestamp};
/// # use http::{HeaderMap, Method, Uri};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (uri, origin) = (Uri::from_static("/v1/orders"), "https://api.example.com".parse::<Origin>()?);
/// # let (method, target) = (Method::POST, Target::origin_form(&uri));
/// # let mut headers = HeaderMap::new();
/// # let kms = PrivateKey::ed25519(&[7; 32]);
/// # let (publishable_key, now, random) = (kms.publishable_key(), Timestamp::from_unix(1_763_900_000), [9; 16]);
/// let signer = RemoteSigner::new(publishable_key)?; // of the KMS's public key
/// let head = RequestHead { method: &method, target, origin: &origin, headers: &headers };
/// let prepared = signer.prepare(&head, b"{}", now, &Nonce::from_random(random))?;
/// let signature = kms.sign(prepared.signature_base().as_bytes()); // raw Ed25519, 64 bytes
/// prepared.attach(&signature)?.apply(&mut headers);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteSigner {
    coverage: Coverage,
    /// `None` for an HMAC secret, which is not known here.
    verifying_key: Option<VerifyingKey>,
}

impl RemoteSigner {
    /// Makes a signer for the private half of this key, with the tag `countersign`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for a public key that servers refuse to register.
    pub fn new(key: PublishableKey) -> Result<Self, KeyError> {
        let verifying_key = match key.algorithm() {
            Algorithm::HmacSha256 => None,
            _ => Some(key.to_verifying_key()?),
        };
        Ok(Self { coverage: Coverage::new(key), verifying_key })
    }

    coverage_setters!("prepare", "prepare_covering");

    /// Returns the tag of its signatures.
    pub const fn selected_tag(&self) -> &str {
        self.coverage.tag()
    }

    /// Returns the publishable half of the signing key.
    pub const fn publishable_key(&self) -> PublishableKey {
        self.coverage.key()
    }

    /// Prepares a request. Every attempt needs a new `nonce`, from [`Nonce::from_random`].
    ///
    /// The server's window counts from `created`: 60 s by default, including the time of the remote signing.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn prepare(
        &self,
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<PreparedRequest<'_>, SignError> {
        self.prepare_covering(&[], request, content, created, nonce)
    }

    /// As [`RemoteSigner::prepare`], and also covers `more`.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn prepare_covering(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<PreparedRequest<'_>, SignError> {
        let (content_digest, prepared) =
            self.coverage.prepare(more, request, content, created, nonce)?;
        Ok(PreparedRequest { content_digest, prepared, verifying_key: self.verifying_key.as_ref() })
    }

    /// As [`RemoteSigner::prepare_covering`], for content that is not in memory. `content` is its digest, or `None` without
    /// content.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn prepare_digested_covering(
        &self,
        more: &[Component<'_>],
        request: &RequestHead<'_>,
        content: Option<&ContentDigest>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<PreparedRequest<'_>, SignError> {
        let (content_digest, prepared) =
            self.coverage.prepare_digested(more, request, content, created, nonce)?;
        Ok(PreparedRequest { content_digest, prepared, verifying_key: self.verifying_key.as_ref() })
    }
}

/// A request that waits for its signature.
#[derive(Debug)]
#[must_use = "nothing is signed before the signature is attached"]
pub struct PreparedRequest<'s> {
    content_digest: Option<HeaderValue>,
    prepared: PreparedSignature,
    verifying_key: Option<&'s VerifyingKey>,
}

impl PreparedRequest<'_> {
    /// The bytes to sign.
    pub const fn signature_base(&self) -> &SignatureBase {
        self.prepared.signature_base()
    }

    /// The fields to add to the request, with this signature of [`signature_base`](Self::signature_base): the 64 bytes of
    /// Ed25519, or the 32 of HMAC-SHA256.
    ///
    /// # Errors
    ///
    /// [`SignError::Signature`] if an Ed25519 signature is invalid, as of another key or of a hash of the bytes. Only the
    /// server can check an HMAC.
    pub fn attach(self, signature: &[u8]) -> Result<SignedFields, SignError> {
        let Self { content_digest, prepared, verifying_key } = self;
        if let Some(key) = verifying_key {
            let held = key.verify(prepared.signature_base().as_bytes(), signature);
            held.map_err(|_| SignError::Signature)?;
        }
        Ok(SignedFields { content_digest, signature: prepared.attach(signature)? })
    }
}
