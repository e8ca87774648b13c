use http::HeaderName;

use crate::{
    algorithm::Algorithm,
    component::Component,
    digest::{ContentDigest, DigestCheck},
    key::{KeyId, Verifies, VerifyingKey},
    malformed::Malformed,
    message::{Message, RequestHead},
    nonce::{Claim, Nonce, NonceUse},
    policy::{Content, Judged, Policy},
    rejection::{Rejection, Stale, Unmet},
    signature_base::{Rules, SignatureBase},
    signature_input::{LabelledSignature, MAX_SIGNATURE_FIELDS, SignatureInput},
    timestamp::Timestamp,
};

/// A signature beside the base that it should be over. Nothing of it is trusted yet, and no policy has seen it.
///
/// Servers use [`Unverified`]. This is for tools that look at any message of RFC 9421.
#[derive(Clone, Debug)]
pub struct Candidate<'m> {
    pub(crate) input: SignatureInput<'m>,
    pub(crate) base: SignatureBase,
    pub(crate) signature: Vec<u8>,
}

impl<'m> Candidate<'m> {
    /// The signature of this label, or the only one.
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
        // Types are checked even where the value is not used: the base would hold what nobody read.
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

    /// The label, which means nothing.
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

    /// The components that are covered, in their order.
    pub fn components(&self) -> &[Component<'m>] {
        // Its base was made of them, so they could be read.
        self.input.components().unwrap_or_default()
    }

    /// The `alg`, as it came.
    pub fn algorithm(&self) -> Option<&str> {
        self.input.string("alg").ok().flatten()
    }

    /// Checks the signature alone: not when it was made, not what it covers, not whether it was used before.
    ///
    /// The key is a [`VerifyingKey`], or an [`AnyVerifyingKey`](crate::AnyVerifyingKey) of another algorithm.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`], also when the message names another algorithm than the key's, and when an RSA key and
    /// the message both do not say which of two it is.
    pub fn insecure_verify_without_policy(&self, key: &impl Verifies) -> Result<(), Rejection> {
        let named = self.input.string("alg")?.map(str::parse::<Algorithm>);
        Ok(key.verify_beside(named, self.base.as_bytes(), &self.signature)?)
    }

    /// As [`insecure_verify_without_policy`](Self::insecure_verify_without_policy), whatever `alg` says: for tools that
    /// tell a wrong `alg` from a signature that does not hold.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`], also with an RSA key that does not say which of two algorithms it is for.
    pub fn insecure_verify_whatever_alg(&self, key: &impl Verifies) -> Result<(), Rejection> {
        Ok(key.verify_beside(None, self.base.as_bytes(), &self.signature)?)
    }
}

/// A signature whose form, coverage and time meet the policy. Nothing is known yet of who made it.
///
/// From here the road is [`verify`](Self::verify) → [`Authentic`] → [`Claimed`] → [`Intact`]; each step gives the value
/// that the next one needs.
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
    /// A [`Rejection`]: any signature field that is present leads to a verified request or to a refusal, never to
    /// what an unsigned request may do.
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
            // Whoever signed without a tag is told so, unless something else is wrong first.
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
        // Which algorithm it is the key decides; a name of none is told before any key is looked for.
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

    /// What the `keyid` names; `None` if its form is no key's, so that none needs to be looked for.
    pub fn key_id(&self) -> Option<KeyId> {
        self.candidate.key_id().and_then(|text| text.parse().ok())
    }

    /// The components that are covered, in their order.
    pub fn components(&self) -> &[Component<'m>] {
        self.candidate.components()
    }

    /// Header fields of this request that its signature leaves out and that change what the request means:
    /// [`CONDITIONAL_FIELDS`](crate::CONDITIONAL_FIELDS) of a read, and the fields of
    /// [`Policy::remove_uncovered`]. A cache or a proxy may have added them.
    ///
    /// Remove them from the request before a handler sees it. The server crate does.
    pub fn fields_to_remove(&self) -> &[HeaderName] {
        &self.removed
    }

    /// The signature base as rebuilt from the request.
    pub const fn signature_base(&self) -> &SignatureBase {
        self.candidate.signature_base()
    }

    /// The one signature operation of a request, with the key that its `keyid` names.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`].
    pub fn verify(self, key: &VerifyingKey) -> Result<Authentic, Rejection> {
        self.candidate.insecure_verify_without_policy(key)?;
        let Self { created, nonce, digest, content, .. } = self;
        Ok(Authentic { created, nonce, digest, content })
    }

    /// Refuses a request whose key is not known, with the same work as [`verify`](Self::verify) has with a key, so
    /// that neither the answer nor its time tells which keys exist.
    #[must_use = "this is the refusal"]
    pub fn refuse_unknown_key(&self, nobody: &VerifyingKey) -> Rejection {
        match self.candidate.insecure_verify_without_policy(nobody) {
            // A key that nobody has cannot hold; were it to, it still would not be a caller's.
            Ok(()) | Err(_) => Rejection::Invalid,
        }
    }
}

/// What a tag selects of several signatures.
pub(crate) enum Tagged<'m> {
    One(LabelledSignature<'m>),
    /// None has this tag, and one has none at all.
    Untagged(LabelledSignature<'m>),
    None,
}

/// Our tag selects, never the label: exactly one signature has it.
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

/// A signature that holds: its maker had the private key. It may still be a repetition.
#[derive(Clone, Debug)]
#[must_use = "an authentic request can be a repeated one"]
pub struct Authentic {
    created: Timestamp,
    nonce: Nonce,
    digest: Option<ContentDigest>,
    content: Content,
}

impl Authentic {
    /// What to claim from the replay guard, for the credential with this number.
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

/// An authentic request that is the first of its kind. Its content has not been seen yet.
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
    /// [`Rejection::DigestMismatch`], also for content that came although the head said there was none.
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

/// Proof that a request is authentic, the first of its kind, and complete as it was signed.
#[derive(Clone, Debug)]
pub struct Intact(());
