use super::{
    policy::{RESPONSE_TAG, ResponsePolicy},
    rejection::ResponseRejection,
};
use crate::{
    content::Content,
    digest::ContentDigest,
    key::{KeyId, ServerKeys},
    malformed::Malformed,
    message::{Message, RequestHead, ResponseHead},
    rejection::Unmet,
    signature_base::{Rules, SignatureBase},
    signature_input::{LabelledSignature, MAX_SIGNATURE_FIELDS, SignatureInput},
    timestamp::Timestamp,
    verify::{Candidate, ContentCheck, Tagged, select_by_tag},
};

/// A response whose signature meets the policy in form, coverage and time. Its maker is not known yet.
///
/// Go on with [`verify`](Self::verify) → [`AuthenticResponse`] → [`IntactResponse`]; each step returns the value that the
/// next step needs.
#[derive(Clone, Debug)]
pub struct UnverifiedResponse<'m> {
    candidate: Candidate<'m>,
    created: Timestamp,
    digest: Option<ContentDigest>,
}

impl<'m> UnverifiedResponse<'m> {
    /// Reads the signature of the response to `request`. Pass the request as it was sent, with its own signature.
    ///
    /// # Errors
    ///
    /// A [`ResponseRejection`].
    pub fn parse(
        response: ResponseHead<'m>,
        request: RequestHead<'m>,
        policy: &ResponsePolicy,
        now: Timestamp,
    ) -> Result<Self, ResponseRejection> {
        let headers = response.headers;
        let signatures = SignatureInput::within(MAX_SIGNATURE_FIELDS, headers)?;
        let Tagged::One(ours) = select_by_tag(signatures, RESPONSE_TAG)? else {
            return Err(ResponseRejection::Unsigned);
        };
        let LabelledSignature { input, signature, canonical } = ours;
        let signature_params = input.signature_params()?;
        if !canonical || !input.is_canonical(&signature_params) {
            return Err(Malformed::NotCanonical.into());
        }
        let created = policy.judge(&input, headers, &request, now)?;
        input.string("alg")?;
        input.string("nonce")?;
        let message = Message::from(response).with_request(request);
        let components = input.components()?;
        let base = SignatureBase::new(&message, components, &signature_params, Rules::Policy);
        let base = base.map_err(Malformed::Base)?;
        // By the policy it is covered where it is present.
        let digest = match response.may_have_content(request.method) {
            true => ContentDigest::from_headers(headers)?,
            false => None,
        };
        Ok(Self { candidate: Candidate { input, base, signature }, created, digest })
    }

    /// The key id in `keyid`; `None` if it has not the form of a key id.
    pub fn key_id(&self) -> Option<KeyId> {
        self.candidate.key_id().and_then(|text| text.parse().ok())
    }

    /// The signature base, rebuilt from the response and its request.
    pub const fn signature_base(&self) -> &SignatureBase {
        self.candidate.signature_base()
    }

    /// Verifies the signature with the key of `keyid`.
    ///
    /// # Errors
    ///
    /// [`ResponseRejection::UnknownKey`]: the server may have moved on to another key, which its directory would have.
    /// [`ResponseRejection::Invalid`].
    pub fn verify(self, keys: &ServerKeys) -> Result<AuthenticResponse, ResponseRejection> {
        let key = self.key_id().and_then(|id| keys.find(&id));
        let key = key.ok_or(ResponseRejection::UnknownKey)?;
        let held = self.candidate.insecure_verify_without_policy(key);
        held.map_err(|_| ResponseRejection::Invalid)?;
        Ok(AuthenticResponse { created: self.created, digest: self.digest })
    }
}

/// A response of the server to this request. Its content was not read yet.
#[derive(Clone, Debug)]
#[must_use = "the content has not been compared with its digest"]
pub struct AuthenticResponse {
    created: Timestamp,
    digest: Option<ContentDigest>,
}

impl AuthenticResponse {
    /// Starts reading the content.
    pub fn read(self) -> ResponseContentCheck {
        let Self { created, digest } = self;
        let check = ContentCheck::new(digest, Content::Absent);
        ResponseContentCheck { created, digest, check }
    }
}

/// The incoming content of an authentic response.
#[derive(Clone, Debug)]
#[must_use = "content that is not read to its end is not checked"]
pub struct ResponseContentCheck {
    created: Timestamp,
    digest: Option<ContentDigest>,
    check: ContentCheck,
}

impl ResponseContentCheck {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.check.update(piece);
    }

    /// Compares, at the clean end of the content.
    ///
    /// # Errors
    ///
    /// [`ResponseRejection::DigestMismatch`]; [`ResponseRejection::Policy`] for content without a covered digest.
    pub fn finish(self) -> Result<IntactResponse, ResponseRejection> {
        let Self { created, digest, check } = self;
        match check.finish() {
            Ok(_) => Ok(IntactResponse { created }),
            Err(_) if digest.is_none() => Err(Unmet::ContentDigest.into()),
            Err(_) => Err(ResponseRejection::DigestMismatch),
        }
    }
}

/// Proof that the server made this response to this request, and that its content is complete as signed.
#[derive(Clone, Debug)]
pub struct IntactResponse {
    created: Timestamp,
}

impl IntactResponse {
    /// When it was signed, by the server's clock.
    pub const fn created(&self) -> Timestamp {
        self.created
    }
}
