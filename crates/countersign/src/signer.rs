use crate::{
    component::Component,
    coverage::{Coverage, coverage_setters},
    digest::ContentDigest,
    key::PrivateKey,
    message::RequestHead,
    nonce::Nonce,
    origin::Origin,
    sign::{SignError, SignedFields},
    target::Target,
    timestamp::Timestamp,
};

/// Signs requests so that they meet [`Policy::default`](crate::Policy).
///
/// A signature covers `@method`, `@authority`, `@path`, `@query`, `content-digest` when there is content, and when
/// present `content-type`, `content-encoding`, `authorization`, `idempotency-key`, the fields that override a method or a
/// target, [`CONDITIONAL_FIELDS`](crate::CONDITIONAL_FIELDS), and the fields of [`Signer::cover_when_present`].
///
/// ```
/// use countersign::{Nonce, PrivateKey, Signer, Timestamp};
/// use http::Request;
///
/// let signer = Signer::new(PrivateKey::ed25519(&[7; 32])); // 32 random bytes
/// let mut request = Request::post("https://api.example.com/v1/orders").body("{}")?;
/// let nonce = Nonce::from_random([9; 16]); // 16 random bytes for each request
/// signer.sign_request(&mut request, Timestamp::from_unix(1_763_900_000), &nonce)?;
/// assert!(request.headers().contains_key("signature-input"));
/// assert!(request.headers().contains_key("content-digest"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Signer {
    key: PrivateKey,
    coverage: Coverage,
}

impl Signer {
    /// Makes a signer with this key, and the tag `countersign`.
    pub fn new(key: PrivateKey) -> Self {
        let coverage = Coverage::new(key.publishable_key());
        Self { key, coverage }
    }

    coverage_setters!("sign", "sign_covering");

    /// Returns the tag of the signatures.
    pub const fn selected_tag(&self) -> &str {
        self.coverage.tag()
    }

    /// Returns the publishable half of the signing key.
    pub fn publishable_key(&self) -> crate::PublishableKey {
        self.key.publishable_key()
    }

    /// Signs `request` with this content. Add the result with [`SignedFields::apply`].
    ///
    /// Every attempt needs a `nonce` of its own, from [`Nonce::from_random`].
    ///
    /// # Errors
    ///
    /// [`SignError`]. A target that servers refuse is an error here, before the request is sent.
    pub fn sign(
        &self,
        request: &RequestHead<'_>,
        content: &[u8],
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        self.sign_covering(&[], request, content, created, nonce)
    }

    /// As [`Signer::sign`], and also covers `more`.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`]; also [`SignError::Base`] if the request lacks a component of `more`, or has it on several
    /// lines.
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

    /// As [`Signer::sign`], for content that is not in memory. `content` is its digest, or `None` without content. A
    /// [`RunningDigest`](crate::RunningDigest) makes the digest while the content is read.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`]; also [`SignError::ContentDigest`] if the request has a `Content-Digest` that `content` does
    /// not hold.
    pub fn sign_digested(
        &self,
        request: &RequestHead<'_>,
        content: Option<&ContentDigest>,
        created: Timestamp,
        nonce: &Nonce,
    ) -> Result<SignedFields, SignError> {
        self.sign_digested_covering(&[], request, content, created, nonce)
    }

    /// As [`Signer::sign_digested`], and also covers `more`.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign_digested`]; also [`SignError::Base`] if the request lacks a component of `more`, or has it on
    /// several lines.
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

    /// Signs an [`http::Request`] and adds the fields to it. Its URI is absolute, as in
    /// `https://api.example.com/v1/orders`.
    ///
    /// Send the request with any client that sends its path and query unchanged, the URI's authority as `Host`, and the
    /// body unchanged.
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
