//! Signed responses (RFC 9421 §2.4). Each is bound to its request, and cannot pass for the response to another.

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

/// The components of the request that every response is bound to.
const OF_REQUEST: [(Derived, &str); 4] = [
    (Derived::Method, "@method;req"),
    (Derived::Authority, "@authority;req"),
    (Derived::Path, "@path;req"),
    (Derived::Query, "@query;req"),
];

/// The components that the response to a signed request is also bound to: the request's signature with its parameters.
/// Without the parameters, the refusal of a request whose `created` was changed on the way would pass for a refusal of
/// the original request.
const OF_SIGNATURE: [(&str, &str); 2] =
    [("signature-input", "signature-input;req"), ("signature", "signature;req")];

/// The signature of the request that the response is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestSignature<'m> {
    /// The request has no signature.
    None,
    /// The signature with this label, which has the tag.
    Labelled(&'m str),
    /// The request has only signatures that its server does not take for the caller's.
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

    /// The components to cover, and their names.
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
