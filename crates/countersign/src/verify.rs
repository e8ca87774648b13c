use crate::{
    Algorithm, Claim, Content, ContentDigest, DigestCheck, KeyId, LabelledSignature, Malformed,
    Message, Nonce, NonceUse, Policy, Rejection, RequestHead, SignatureBase, SignatureInput, Stale,
    Timestamp, Unmet, VerifyingKey,
    component::Form,
    digest::CONTENT_DIGEST,
    policy::Judged,
    signature_input::{SIGNATURE, SIGNATURE_INPUT},
};

const MAX_SIGNATURE_FIELDS: usize = 8 * 1024;

/// A signature beside the base that it should be over. Nothing of it is trusted yet, and no policy has seen it.
///
/// Servers use [`Unverified`]. This is for tools that look at any message of RFC 9421.
#[derive(Clone, Debug)]
pub struct Candidate {
    label: String,
    key_id: Option<String>,
    algorithm: Option<String>,
    base: SignatureBase,
    signature: Vec<u8>,
    digest_covered: bool,
}

impl Candidate {
    /// The signature of this label, or the only one.
    ///
    /// # Errors
    ///
    /// [`Rejection::Required`] if there is no signature, [`Rejection::Malformed`] if its base cannot be made.
    pub fn select(message: &Message<'_>, label: Option<&str>) -> Result<Self, Rejection> {
        let mut signatures = SignatureInput::all(message.headers())?;
        if signatures.is_empty() {
            return Err(Rejection::Required);
        }
        if let Some(label) = label {
            signatures.retain(|signature| signature.input.label() == label);
        }
        let (Some(signature), None) = (signatures.pop(), signatures.pop()) else {
            return Err(Malformed::NoSuchLabel.into());
        };
        let signature_params = signature.input.signature_params()?;
        Self::new(message, signature, &signature_params)
    }

    fn new(
        message: &Message<'_>,
        signature: LabelledSignature<'_>,
        signature_params: &str,
    ) -> Result<Self, Rejection> {
        let LabelledSignature { input, signature, .. } = signature;
        let components = input.components()?;
        let base = SignatureBase::new(message, components, signature_params);
        let own = |text: Option<&str>| text.map(str::to_owned);
        // Types are checked even where the value is not used: the base would hold what nobody read.
        input.created()?;
        input.expires()?;
        input.string("nonce")?;
        input.string("tag")?;
        Ok(Self {
            label: input.label().to_owned(),
            key_id: own(input.string("keyid")?),
            algorithm: own(input.string("alg")?),
            base: base.map_err(Malformed::Base)?,
            signature,
            digest_covered: components.iter().any(|one| one.is_plain(CONTENT_DIGEST.as_str())),
        })
    }

    /// The label, which means nothing.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `keyid`, as it came.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The signature base as rebuilt from the message.
    pub const fn signature_base(&self) -> &SignatureBase {
        &self.base
    }

    /// Whether the signature covers the `Content-Digest` field.
    pub const fn covers_content_digest(&self) -> bool {
        self.digest_covered
    }

    /// Checks the signature alone: not when it was made, not what it covers, not whether it was used before.
    ///
    /// # Errors
    ///
    /// [`Rejection::Invalid`], also when the message names another algorithm than the key's.
    pub fn insecure_verify_without_policy(&self, key: &VerifyingKey) -> Result<(), Rejection> {
        // The key decides; an unknown name is no agreement (RFC 9421 §7.3.6).
        let algorithm = self.algorithm.as_deref().map(str::parse::<Algorithm>);
        let agrees = algorithm.is_none_or(|algorithm| algorithm == Ok(key.algorithm()));
        // The operation is done in either case, so that its time does not tell which it was.
        let held = key.verify(self.base.as_bytes(), &self.signature);
        if agrees { Ok(held?) } else { Err(Rejection::Invalid) }
    }
}

/// A signature whose form, coverage and time meet the policy. Nothing is known yet of who made it.
///
/// From here the road is [`verify`](Self::verify) → [`Authentic`] → [`Claimed`] → [`Intact`]; each step gives the value
/// that the next one needs.
#[derive(Clone, Debug)]
pub struct Unverified {
    candidate: Candidate,
    key_id: Option<KeyId>,
    created: Timestamp,
    nonce: Nonce,
    digest: Option<ContentDigest>,
    content: Content,
}

impl Unverified {
    /// Reads the signature of a request; `None` if it carries neither signature field, and then it is unsigned.
    ///
    /// # Errors
    ///
    /// A [`Rejection`]: any signature field that is present leads to a verified request or to a refusal, never to
    /// what an unsigned request may do.
    pub fn parse(
        request: RequestHead<'_>,
        content: Content,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<Self>, Rejection> {
        let headers = request.headers;
        let fields = [&SIGNATURE_INPUT, &SIGNATURE];
        let lines = fields.into_iter().flat_map(|field| headers.get_all(field));
        let size = lines.fold(0usize, |size, line| size.saturating_add(line.len()));
        if size > MAX_SIGNATURE_FIELDS {
            return Err(Rejection::TooLarge);
        }
        let signatures = SignatureInput::all(headers)?;
        if signatures.is_empty() {
            return Ok(None);
        }
        let signature = select_by_tag(signatures, policy)?;
        let signature_params = signature.input.signature_params()?;
        if !signature.canonical || !signature.input.is_canonical(&signature_params) {
            return Err(Malformed::NotCanonical.into());
        }
        let judged = policy.judge(&signature.input, headers, content)?;
        for component in signature.input.components()? {
            // Several signatures are members of one Dictionary, on as many lines as there are signers.
            if let Some(name) = component.field_name()
                && !matches!(component.form(), Form::Member(_))
                && headers.get_all(name).iter().nth(1).is_some()
            {
                return Err(Malformed::RepeatedField(name.to_owned()).into());
            }
        }
        policy.check_time(judged.created, judged.expires, now)?;
        let candidate = Candidate::new(&request.into(), signature, &signature_params)?;
        let digest = match candidate.digest_covered {
            true => ContentDigest::from_headers(headers)?,
            false => None,
        };
        let key_id = candidate.key_id().and_then(|text| text.parse().ok());
        let Judged { created, nonce, .. } = judged;
        Ok(Some(Self { candidate, key_id, created, nonce, digest, content }))
    }

    /// What the `keyid` names; `None` if its form is no key's, so that none needs to be looked for.
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
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

/// Our tag selects, never the label: exactly one signature has it.
fn select_by_tag<'m>(
    signatures: Vec<LabelledSignature<'m>>,
    policy: &Policy,
) -> Result<LabelledSignature<'m>, Rejection> {
    let (mut ours, mut untagged) = (None, None);
    for signature in signatures {
        match signature.input.string("tag")? {
            Some(tag) if tag == policy.selected_tag() => {
                if ours.replace(signature).is_some() {
                    return Err(Malformed::SeveralSignatures.into());
                }
            }
            Some(_) => {}
            None => untagged = Some(signature),
        }
    }
    match (ours, untagged) {
        (Some(signature), _) => Ok(signature),
        // Whoever signed without a tag is told so, unless something else is wrong first.
        (None, Some(untagged)) => match untagged.input.components() {
            Ok(_) => Err(Unmet::Parameter("tag").into()),
            Err(malformed) => Err(malformed.into()),
        },
        (None, None) => Err(Rejection::Required),
    }
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
        ContentCheck {
            check: self.digest.map(ContentDigest::check),
            announced: self.content,
            came: Content::Absent,
        }
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
