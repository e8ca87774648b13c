/// Why a signature base must not be created (RFC 9421 §2.5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBase {
    /// A covered field that the message lacks. It never counts as empty.
    #[error("the covered component {0} is not in the message")]
    Absent(String),
    /// A derived component that such a message cannot have, as `@status` in a request.
    #[error("the covered component {0} does not apply to this message")]
    NotApplicable(String),
    /// `"@query-param"` whose name occurs more than once (RFC 9421 §2.2.8).
    #[error("the covered component {0} occurs more than once in the query")]
    Ambiguous(String),
    /// A value with a line break, a control character or a byte that is not ASCII.
    #[error(
        "the value of the covered component {0} has a character that no signature base may have"
    )]
    Unprintable(String),
    /// A field on several lines, which may be joined in different ways (RFC 9421 §7.5.7). Only a policy refuses it.
    #[error("the covered field {0} occurs more than once")]
    Repeated(String),
    /// Components that repeat the target too often. Only a policy refuses it: a signer needs no more than `@path`,
    /// `@query` and `@target-uri`, and each repetition costs the verifier work before it knows the key.
    #[error("the covered components have the target more than twice over; {0} is one too many")]
    Repetitive(String),
    /// A member (`key`) of a field, or of a signature in another form than the canonical one, that is longer than the
    /// verifier reads before it knows the key. Only a policy refuses it.
    #[error("the covered component {0} is a member of a field longer than 1 KiB")]
    TooLong(String),
    /// `sf` or `key` on a field of an unknown type, or on a malformed one (RFC 9421 §2.1.1, §2.1.2).
    #[error(
        "the covered component {0} is of a field that is not known to be structured so, or is malformed"
    )]
    NotStructured(String),
}
