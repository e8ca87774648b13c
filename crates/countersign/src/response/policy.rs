use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::{OF_REQUEST, RequestSignature, rejection::ResponseRejection};
use crate::{
    accept_signature::ACCEPT_SIGNATURE,
    component::{Component, Derived},
    field_name::{CONTENT_DIGEST, REFUSAL, SIGNATURES},
    malformed::Malformed,
    message::RequestHead,
    policy::{self, BadPolicy, TAG, check_forms, is_key_id},
    rejection::Unmet,
    signature_input::SignatureInput,
    timestamp::Timestamp,
    window::Window,
};

/// The tag of signed responses. It differs from the tag of requests, so that neither passes for the other.
pub const RESPONSE_TAG: &str = "countersign-response";

/// The requirements on a response.
///
/// A signature has to cover `@status`; of the request `@method`, `@authority`, `@path`, `@query` and, if it was signed,
/// both fields of that signature; `content-digest` when there is content; and, when present, `content-type`,
/// `content-encoding`, `content-range`, `location`, `retry-after`, `accept-signature`, `countersign-refusal` and the
/// fields of [`ResponsePolicy::cover_when_present`]. The parameters `created` and `keyid` and the tag [`RESPONSE_TAG`]
/// are required.
///
/// A response that is bound to the signature of its request was made after the request, whatever the clocks show: that
/// signature has a new nonce. So only the age of a response to an unsigned request is checked.
#[derive(Clone, Debug)]
pub struct ResponsePolicy {
    window: Window,
    request_tag: Box<str>,
    when_present: Vec<HeaderName>,
}

/// Fields that change the meaning of a response, or the next step of a client.
pub(super) fn when_present() -> Vec<HeaderName> {
    vec![
        CONTENT_DIGEST,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::LOCATION,
        header::RETRY_AFTER,
        ACCEPT_SIGNATURE,
        REFUSAL,
    ]
}

impl Default for ResponsePolicy {
    fn default() -> Self {
        Self { window: Window::default(), request_tag: TAG.into(), when_present: when_present() }
    }
}

impl ResponsePolicy {
    /// The oldest accepted response to an unsigned request, and the allowed difference of clocks either way. Default: 60
    /// s and 10 s.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Window`] unless `max_age` is 1 to 900 s and `skew` at most 60 s, both in whole seconds.
    pub fn window(mut self, max_age: Duration, skew: Duration) -> Result<Self, BadPolicy> {
        self.window = Window::new(max_age, skew).ok_or(BadPolicy::Window)?;
        Ok(self)
    }

    /// The tag of signed requests. Default: `countersign`.
    ///
    /// # Errors
    ///
    /// [`BadPolicy::Tag`].
    pub fn request_tag(mut self, tag: &str) -> Result<Self, BadPolicy> {
        self.request_tag = policy::check_tag(tag)?.into();
        Ok(self)
    }

    /// Adds fields that a response has to cover when it has them.
    pub fn cover_when_present(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        policy::add(&mut self.when_present, fields);
        self
    }

    /// Coverage, parameters, and the time where it counts; gives `created`.
    pub(super) fn judge(
        &self,
        input: &SignatureInput<'_>,
        headers: &HeaderMap,
        request: &RequestHead<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, ResponseRejection> {
        let components = input.components()?;
        if let Some(parameter) = input.unknown_parameter() {
            return Err(Malformed::UnknownParameter(parameter.into()).into());
        }
        if components.iter().any(Component::is_trailer) {
            return Err(Malformed::OutsideTheHead.into());
        }
        check_forms(components, &SIGNATURES)?;
        let (created, expires) = (input.created()?, input.expires()?);
        let key_id = input.string("keyid")?;
        if !key_id.is_none_or(is_key_id) {
            return Err(Malformed::KeyId.into());
        }
        if !components.contains(&Derived::Status.into()) {
            return Err(Unmet::Component(Derived::Status.as_str()).into());
        }
        let uncovered = |derived| !components.contains(&Component::of_request(derived));
        if let Some((_, name)) = OF_REQUEST.into_iter().find(|&(derived, _)| uncovered(derived)) {
            return Err(Unmet::Component(name).into());
        }
        let bound = RequestSignature::of(request, &self.request_tag);
        let bound = bound.map_err(|_| ResponseRejection::RequestTag)?;
        if bound == RequestSignature::Foreign {
            return Err(ResponseRejection::RequestTag);
        }
        let mut uncovered = bound.components().filter(|(one, _)| !components.contains(one));
        if let Some((_, name)) = uncovered.next() {
            return Err(Unmet::Component(name).into());
        }
        let uncovered = |field: &&HeaderName| {
            headers.contains_key(*field) && !components.iter().any(|one| one.is_plain_field(field))
        };
        if let Some(field) = self.when_present.iter().find(uncovered) {
            return Err(Unmet::PresentField(field.to_string()).into());
        }
        let created = created.ok_or(Unmet::Parameter("created"))?;
        if key_id.is_none() {
            return Err(Unmet::Parameter("keyid").into());
        }
        if expires.is_some_and(|expires| expires <= created) {
            return Err(Malformed::ExpiresBeforeCreated.into());
        }
        if bound == RequestSignature::None {
            self.window.check(created, expires, now)?;
        }
        Ok(created)
    }
}
