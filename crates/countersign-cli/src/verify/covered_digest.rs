use countersign::{BadDigest, Component, ContentDigest, DigestAlgorithm, Message};
use http::HeaderMap;

const NAME: &str = "content-digest";

/// A `Content-Digest` field that a signature covers, in whole or in part: in the head, or in the trailers (RFC 9530
/// §2).
#[derive(Clone, Copy)]
pub(super) struct CoveredDigest<'c, 'm> {
    component: &'c Component<'c>,
    fields: &'m HeaderMap,
}

impl<'c, 'm> CoveredDigest<'c, 'm> {
    pub(super) fn all(
        components: &'c [Component<'c>],
        message: &Message<'m>,
        trailers: &'m HeaderMap,
    ) -> Vec<Self> {
        // In whatever form: `sf`, `bs` and `key` cover no other field. Of several the one that covers most.
        let of_head = components.iter().filter(|one| one.is_of_header(NAME));
        let of_head = of_head.min_by_key(|one| one.key_of(NAME).is_some());
        let of_trailers = components.iter().filter(|one| one.is_of_trailer(NAME));
        let of_trailers = of_trailers.min_by_key(|one| one.key_of(NAME).is_some());
        let of_head = of_head.map(|component| Self { component, fields: message.headers() });
        let of_trailers = of_trailers.map(|component| Self { component, fields: trailers });
        of_head.into_iter().chain(of_trailers).collect()
    }

    /// The component that covers the field, or a part of it.
    pub(super) const fn component(self) -> &'c Component<'c> {
        self.component
    }

    /// The digests in the field, all of which have to match; `None` if it is not there.
    ///
    /// Where one alone is signed, of an algorithm that does not count, the others say nothing that anyone has signed.
    pub(super) fn digest(self) -> Result<Option<ContentDigest>, BadDigest> {
        if let Some(key) = self.component.key_of(NAME) {
            key.parse::<DigestAlgorithm>()?;
        }
        ContentDigest::from_headers(self.fields)
    }
}
