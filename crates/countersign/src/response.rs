//! Signed answers (RFC 9421 §2.4): each is bound to its request, so that it is no answer to another one.

mod policy;
mod rejection;
mod signer;
mod verify;

pub use policy::{RESPONSE_TAG, ResponsePolicy};
pub use rejection::ResponseRejection;
pub use signer::ResponseSigner;
pub use verify::{AuthenticResponse, IntactResponse, ResponseContentCheck, UnverifiedResponse};

use crate::{
    component::{Component, Derived},
    malformed::Malformed,
    message::RequestHead,
    signature_input::{MAX_SIGNATURE_FIELDS, SignatureInput},
    verify::{Tagged, select_by_tag},
};

/// What every answer is bound to.
const OF_REQUEST: [(Derived, &str); 4] = [
    (Derived::Method, "@method;req"),
    (Derived::Authority, "@authority;req"),
    (Derived::Path, "@path;req"),
    (Derived::Query, "@query;req"),
];

/// What the answer to a signed request is bound to beside that: its signature, with the parameters. With the signature's bytes
/// alone, the refusal of a request whose `created` somebody changed on the way would be one of the request that was sent.
const OF_SIGNATURE: [(&str, &str); 2] =
    [("signature-input", "signature-input;req"), ("signature", "signature;req")];

/// Which signature of a request its answer is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestSignature<'m> {
    /// It has none.
    None,
    /// The one with this label, which has the tag.
    Labelled(&'m str),
    /// It has some, and none that its server could take for the caller's.
    Foreign,
}

impl<'m> RequestSignature<'m> {
    fn of(request: &RequestHead<'m>, tag: &str) -> Result<Self, Malformed> {
        let signatures = SignatureInput::within(MAX_SIGNATURE_FIELDS, request.headers)?;
        if signatures.is_empty() {
            return Ok(Self::None);
        }
        Ok(match select_by_tag(signatures, tag)? {
            Tagged::One(signature) => Self::Labelled(signature.input.label()),
            Tagged::Untagged(_) | Tagged::None => Self::Foreign,
        })
    }

    /// What of it is covered, and what that is called.
    fn components(self) -> impl Iterator<Item = (Component<'m>, &'static str)> {
        let label = match self {
            Self::Labelled(label) => Some(label),
            Self::None | Self::Foreign => None,
        };
        let of = |label| {
            OF_SIGNATURE.map(|(field, name)| (Component::member_of_request(field, label), name))
        };
        label.into_iter().flat_map(of)
    }
}
