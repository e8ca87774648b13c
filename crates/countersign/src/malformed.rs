use crate::{algorithm::Algorithm, bad_base::BadBase, code::Code, component::BadComponent};

/// Why the signature fields are malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Malformed {
    #[error("a signature field is not a structured-field dictionary in printable ASCII")]
    NotADictionary,
    #[error("a signature label or digest algorithm occurs twice")]
    DuplicateKey,
    #[error("they are longer than 8 KiB together")]
    TooLong,
    #[error("there are more than 8 signature labels")]
    TooManyMembers,
    #[error("Signature-Input and Signature do not have the same labels")]
    UnpairedLabel,
    #[error("a member of Signature-Input is not an inner list")]
    NotAnInnerList,
    #[error("a member of Signature is not a byte sequence")]
    NotAByteSequence,
    #[error("RFC 9421 does not allow a covered component")]
    Component(#[from] BadComponent),
    #[error("more than 32 components are covered")]
    TooManyComponents,
    #[error("a component is covered twice")]
    DuplicateComponent,
    #[error("a signature parameter occurs twice")]
    DuplicateParameter,
    #[error("there are more than 32 signature parameters")]
    TooManyParameters,
    #[error(
        "the signature parameter {0} is not one of created, expires, nonce, alg, keyid and tag"
    )]
    UnknownParameter(Box<str>),
    #[error("the signature parameter {0} has the wrong type")]
    ParameterType(&'static str),
    #[error("the signature parameter alg is not an algorithm of RFC 9421 section 3.3{}", meant(*.0))]
    Algorithm(Option<Algorithm>),
    #[error("the signature parameter nonce is not 16 to 64 characters of base64 or base64url")]
    Nonce,
    #[error("the signature parameter keyid is not 8 to 96 characters of A-Z a-z 0-9 _ -")]
    KeyId,
    #[error("the signature parameter expires is not later than created")]
    ExpiresBeforeCreated,
    #[error("the signature fields are not in canonical form (RFC 9651 section 4.1)")]
    NotCanonical,
    #[error("more than one signature has this service's tag")]
    SeveralSignatures,
    #[error(
        "no signature has the requested label, or there are several signatures and no label was requested"
    )]
    NoSuchLabel,
    #[error("a covered component is bound to another message or to trailers")]
    OutsideTheHead,
    #[error("a covered component has the parameter sf or bs, which this service does not read")]
    Reformed,
    #[error(
        "a covered component is a member (key) of a field other than Signature and Signature-Input, which this service does not read"
    )]
    Member,
    #[error("the signature base cannot be made")]
    Base(#[from] BadBase),
}

impl Malformed {
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::KeyId => {
                "name the key as this service does: by its publishable key (pk_…) or its JWK thumbprint; RFC 9421 leaves the form of a keyid \
                 to the service"
            }
            Self::UnknownParameter(_) => {
                "leave the parameter out; this service takes none beyond those of RFC 9421 section 2.3"
            }
            Self::Nonce => {
                "send a nonce of 16 to 64 characters of base64 or base64url, as 16 random bytes give; RFC 9421 leaves its form to the service"
            }
            Self::Algorithm(_) => {
                "name the algorithm as RFC 9421 does: ed25519 or hmac-sha256; or leave alg out, since the key decides"
            }
            Self::Reformed | Self::Member => {
                "cover the field as it is, without sf, bs and key; RFC 9421 allows them and this service does not read them"
            }
            Self::OutsideTheHead => {
                "cover header fields of the request itself, without req and tr; RFC 9421 allows them and this service does not read them"
            }
            Self::TooManyComponents | Self::TooManyParameters | Self::TooManyMembers => {
                "sign less: RFC 9421 sets no such limit, and this service does"
            }
            Self::SeveralSignatures => {
                "sign once under this service's tag; signatures for others have tags of their own"
            }
            Self::NotCanonical => {
                "write the signature fields as RFC 9651 section 4.1 serialises them: one space between components, none around ; and ="
            }
            Self::ExpiresBeforeCreated => "send expires later than created, or leave it out",
            Self::Base(BadBase::Repeated(_)) => "send the field on one line, or do not cover it",
            Self::Base(BadBase::Repetitive(_)) => {
                "cover the target once: @path and @query, and @target-uri where it is asked for"
            }
            Self::TooLong => Code::HeaderTooLarge.hint(),
            _ => Code::SignatureMalformed.hint(),
        }
    }
}

/// The RFC 9421 name for a foreign name.
fn meant(algorithm: Option<Algorithm>) -> String {
    algorithm.map_or_else(String::new, |algorithm| format!("; JOSE uses this name for {algorithm}"))
}
