use http::HeaderName;

use crate::{
    algorithm::Algorithm,
    component::Component,
    content::Content,
    digest::{ContentDigest, DigestCheck},
    key::{KeyId, Verifies, VerifyingKey},
    malformed::Malformed,
    message::{Message, RequestHead},
    nonce::{Claim, Nonce, NonceUse},
    policy::{Judged, Policy},
    rejection::{Rejection, Stale, Unmet},
    signature_base::{Rules, SignatureBase},
    signature_input::{LabelledSignature, MAX_SIGNATURE_FIELDS, SignatureInput},
    timestamp::Timestamp,
};

/// A signature and the base that it should cover. Neither is verified, and no policy was applied.
///
/// Servers use [`Unverified`]. This type is for tools that look at any message of RFC 9421.
#[derive(Clone, Debug)]
pub struct Candidate<'m> {
    pub(crate) input: SignatureInput<'m>,
    pub(crate) base: SignatureBase,
    pub(crate) signature: Vec<u8>,
}

impl<'m> Candidate<'m> {
    /// The signature with this label, or the only one.
    ///
    /// # Errors
    ///
    /// [`Rejection::Required`] if there is no signature, [`Rejection::Malformed`] if its base cannot be made.
    pub fn select(message: &Message<'m>, label: Option<&str>) -> Result<Self, Rejection> {
        let mut signatures = SignatureInput::all(message.signature_fields())?;
        if signatures.is_empty() {
            return Err(Rejection::Required);
        }
        if let Some(label) = label {
            signatures.retain(|signature| signature.input.label() == label);
        }
        let (Some(signature), None) = (signatures.pop(), signatures.pop()) else {
            return Err(Malformed::NoSuchLabel.into());
        };
        let LabelledSignature { input, signature, .. } = signature;
        // Types are checked even where the value is unused: the base would otherwise hold values that were never read.
        input.created()?;
        input.expires()?;
        for key in ["nonce", "alg", "keyid", "tag"] {
            input.string(key)?;
        }
        let base = SignatureBase::new(
            message,
            input.components()?,
            &input.signature_params()?,
            Rules::Rfc,
        );
        Ok(Self { input, base: base.map_err(Malformed::Base)?, signature })
    }

    /// The label. It has no meaning.
    pub const fn label(&self) -> &'m str {
        self.input.label()
    }

    /// The `keyid`, as it came.
    pub fn key_id(&self) -> Option<&str> {
        self.input.string("keyid").ok().flatten()
    }

    /// The signature base as rebuilt from the message.
    pub const fn signature_base(&self) -> &SignatureBase {
        &self.base
    }

    /// The covered components, in their order.
    pub fn components(&self) -> &[Component<'m>] {
        // Its base was made of them, so they could be read.
        self.input.components().unwrap_or_default()
    }

    /// The `alg`, as it came.
    pub fn algorithm(&self) -> Option<&str> {
        self.input.string("alg").ok().flatten()
    }

    /// Checks the signature alone: not its time, not its coverage, not its nonce.
    ///
    /// The key is a [`VerifyingKey`], or an [`AnyVerifyingKey`](crate::AnyVerifyingKey) of another algorithm.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`]. Also if `alg` contradicts the key, or an RSA key and the message both leave the algorithm
    /// open.
    pub fn insecure_verify_without_policy(&self, key: &impl Verifies) -> Result<(), Rejection> {
        let named = self.input.string("alg")?.map(str::parse::<Algorithm>);
        Ok(key.verify_beside(named, self.base.as_bytes(), &self.signature)?)
    }

    /// As [`insecure_verify_without_policy`](Self::insecure_verify_without_policy), but ignores `alg`: for tools that
    /// tell a wrong `alg` from an invalid signature.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`]. Also if an RSA key leaves its algorithm open.
    pub fn insecure_verify_whatever_alg(&self, key: &impl Verifies) -> Result<(), Rejection> {
        Ok(key.verify_beside(None, self.base.as_bytes(), &self.signature)?)
    }
}

/// A signature whose form, coverage and time meet the policy. Its maker is not known yet.
///
/// Go on with [`verify`](Self::verify) → [`Authentic`] → [`Claimed`] → [`Intact`]; each step returns the value that the
/// next step needs.
#[derive(Clone, Debug)]
pub struct Unverified<'m> {
    candidate: Candidate<'m>,
    created: Timestamp,
    nonce: Nonce,
    digest: Option<ContentDigest>,
    content: Content,
    removed: Vec<HeaderName>,
}

impl<'m> Unverified<'m> {
    /// Reads the signature of a request; `None` if it carries neither signature field, and then it is unsigned.
    ///
    /// # Errors
    ///
    /// A [`Rejection`]. A request with a signature field is verified or refused, and never treated as unsigned.
    pub fn parse(
        request: RequestHead<'m>,
        content: Content,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<Self>, Rejection> {
        let headers = request.headers;
        let signatures = SignatureInput::within(MAX_SIGNATURE_FIELDS, headers)?;
        if signatures.is_empty() {
            return Ok(None);
        }
        let tagged = select_by_tag(signatures, policy.selected_tag())?;
        let LabelledSignature { input, signature, canonical } = match tagged {
            Tagged::One(signature) => signature,
            // A missing tag is reported unless another fault comes first.
            Tagged::Untagged(untagged) => {
                untagged.input.components()?;
                return Err(Unmet::Parameter("tag").into());
            }
            Tagged::None => return Err(Rejection::Required),
        };
        let signature_params = input.signature_params()?;
        if !canonical || !input.is_canonical(&signature_params) {
            return Err(Malformed::NotCanonical.into());
        }
        let Judged { created, expires, nonce, covers_digest, removed } =
            policy.judge(&input, &request, content)?;
        policy.check_time(created, expires, now)?;
        // The key decides the algorithm; an unknown name is refused before any key is looked up.
        if let Some(Err(_)) = input.string("alg")?.map(str::parse::<Algorithm>) {
            let foreign = input.string("alg")?.and_then(Algorithm::of_jose);
            return Err(Malformed::Algorithm(foreign).into());
        }
        let components = input.components()?;
        let base =
            SignatureBase::new(&request.into(), components, &signature_params, Rules::Policy);
        let base = base.map_err(Malformed::Base)?;
        let digest = match covers_digest {
            true => ContentDigest::from_headers(headers)?,
            false => None,
        };
        let candidate = Candidate { input, base, signature };
        Ok(Some(Self { candidate, created, nonce, digest, content, removed }))
    }

    /// The key id in `keyid`; `None` if it has not the form of a key id, so that no lookup is needed.
    pub fn key_id(&self) -> Option<KeyId> {
        self.candidate.key_id().and_then(|text| text.parse().ok())
    }

    /// The covered components, in their order.
    pub fn components(&self) -> &[Component<'m>] {
        self.candidate.components()
    }

    /// Header fields that the signature leaves out and that change the meaning of the request:
    /// [`CONDITIONAL_FIELDS`](crate::CONDITIONAL_FIELDS) of a read, and the fields of [`Policy::remove_uncovered`]. A
    /// cache or a proxy may have added them.
    ///
    /// Remove them from the request before a handler sees it. The server crate does.
    pub fn fields_to_remove(&self) -> &[HeaderName] {
        &self.removed
    }

    /// The signature base as rebuilt from the request.
    pub const fn signature_base(&self) -> &SignatureBase {
        self.candidate.signature_base()
    }

    /// Verifies the signature with the key of `keyid`. This is the one signature operation of a request.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`].
    pub fn verify(self, key: &VerifyingKey) -> Result<Authentic, Rejection> {
        self.candidate.insecure_verify_without_policy(key)?;
        let Self { created, nonce, digest, content, .. } = self;
        Ok(Authentic { created, nonce, digest, content })
    }

    /// Refuses a request with an unknown key, with the same work as [`verify`](Self::verify), so that neither the
    /// response nor its time tells which keys exist.
    #[must_use = "this is the refusal"]
    pub fn refuse_unknown_key(&self, nobody: &VerifyingKey) -> Rejection {
        match self.candidate.insecure_verify_without_policy(nobody) {
            // A signature by a key without an owner cannot verify; if it did, there would still be no caller.
            Ok(()) | Err(_) => Rejection::Invalid,
        }
    }
}

/// The signature that a tag selects.
pub(crate) enum Tagged<'m> {
    One(LabelledSignature<'m>),
    /// No signature has the tag, and at least one has no tag.
    Untagged(LabelledSignature<'m>),
    None,
}

/// The tag selects, never the label: exactly one signature has it.
pub(crate) fn select_by_tag<'m>(
    signatures: Vec<LabelledSignature<'m>>,
    tag: &str,
) -> Result<Tagged<'m>, Malformed> {
    let (mut ours, mut untagged) = (None, None);
    for signature in signatures {
        match signature.input.string("tag")? {
            Some(other) if other == tag => {
                if ours.replace(signature).is_some() {
                    return Err(Malformed::SeveralSignatures);
                }
            }
            Some(_) => {}
            None => untagged = Some(signature),
        }
    }
    Ok(match (ours, untagged) {
        (Some(signature), _) => Tagged::One(signature),
        (None, Some(untagged)) => Tagged::Untagged(untagged),
        (None, None) => Tagged::None,
    })
}

/// A request with a valid signature: its maker had the private key. It may still be a replay.
#[derive(Clone, Debug)]
#[must_use = "an authentic request can be a repeated one"]
pub struct Authentic {
    created: Timestamp,
    nonce: Nonce,
    digest: Option<ContentDigest>,
    content: Content,
}

impl Authentic {
    /// The nonce to claim from the replay guard, for the credential with this number.
    pub const fn nonce_use(&self, credential: i64) -> NonceUse {
        NonceUse::new(credential, self.created, self.nonce)
    }

    /// Goes on if the claim was fresh.
    ///
    /// # Errors
    ///
    /// [`Rejection::Replayed`], [`Rejection::Stale`] below the guard's low-water mark, [`Rejection::ShareUsedUp`].
    pub fn redeem(self, claim: Claim) -> Result<Claimed, Rejection> {
        match claim {
            Claim::Fresh => Ok(Claimed { digest: self.digest, content: self.content }),
            Claim::Replayed => Err(Rejection::Replayed),
            Claim::TooOld { retry_after } => Err(Stale::BelowMark { retry_after }.into()),
            Claim::ShareUsedUp { retry_after } => Err(Rejection::ShareUsedUp { retry_after }),
        }
    }
}

/// An authentic request with a fresh nonce. Its content was not read yet.
#[derive(Clone, Debug)]
#[must_use = "the content has not been compared with its digest"]
pub struct Claimed {
    digest: Option<ContentDigest>,
    content: Content,
}

impl Claimed {
    /// Starts reading the content.
    pub fn read(self) -> ContentCheck {
        ContentCheck::new(self.digest, self.content)
    }
}

/// The content of a claimed request, on its way in.
#[derive(Clone, Debug)]
#[must_use = "content that is not read to its end is not checked"]
pub struct ContentCheck {
    check: Option<DigestCheck>,
    announced: Content,
    came: Content,
}

impl ContentCheck {
    pub(crate) fn new(digest: Option<ContentDigest>, announced: Content) -> Self {
        Self { check: digest.map(ContentDigest::check), announced, came: Content::Absent }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.came = Content::Present;
        }
        if let Some(check) = &mut self.check {
            check.update(piece);
        }
    }

    /// Compares, at the clean end of the content.
    ///
    /// # Errors
    ///
    /// [`Rejection::DigestMismatch`]. Also if content came although the head said that there is none.
    pub fn finish(self) -> Result<Intact, Rejection> {
        match self.check {
            Some(check) => check.finish()?,
            None if self.announced == Content::Absent && self.came == Content::Present => {
                return Err(Rejection::DigestMismatch);
            }
            None => {}
        }
        Ok(Intact(()))
    }
}

/// Proof that a request is authentic, fresh and complete as signed.
#[derive(Clone, Debug)]
pub struct Intact(());
