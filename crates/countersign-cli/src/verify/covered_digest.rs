use countersign::{BadDigest, Component, ContentDigest, Message};
use http::HeaderMap;

/// A `Content-Digest` field that a signature covers: the one of the head, or the one of the trailers, where RFC 9530 §2
/// allows it too.
#[derive(Clone, Copy)]
pub(super) struct CoveredDigest<'m> {
    component: &'static str,
    fields: &'m HeaderMap,
}

impl<'m> CoveredDigest<'m> {
    pub(super) fn all(
        components: &[Component<'_>],
        message: &Message<'m>,
        trailers: &'m HeaderMap,
    ) -> Vec<Self> {
        let fields = [
            Self { component: "\"content-digest\"", fields: message.headers() },
            Self { component: "\"content-digest\";tr", fields: trailers },
        ];
        let covered = |one: &Self| one.component.parse().is_ok_and(|own| components.contains(&own));
        fields.into_iter().filter(covered).collect()
    }

    /// The component's identifier.
    pub(super) const fn component(self) -> &'static str {
        self.component
    }

    /// The digests in the field; `None` if it is not there.
    pub(super) fn digest(self) -> Result<Option<ContentDigest>, BadDigest> {
        ContentDigest::from_headers(self.fields)
    }
}
