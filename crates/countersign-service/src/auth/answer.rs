use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign::CONTENT_DIGEST;
use countersign_server::{Caller, Proof, VerifiedBody};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CACHE_CONTROL};
use tower_service::Service;

use super::question_body::QuestionBody;
use crate::{
    config::{route_finder::RouteFinder, route_settings::ContentCheck},
    problem::Problem,
    proxy::{
        identity::{FIELDS, is_reserved, set_identity},
        proxied_body::ProxiedBody,
    },
    service_code::ServiceCode,
};

/// The digest of content that the proxy keeps, for the server that gets it.
const SIGNED_DIGEST: HeaderName = HeaderName::from_static("countersign-content-digest");

/// The fields of the request that the proxy takes out, as Envoy reads them.
pub(super) const HEADERS_TO_REMOVE: HeaderName =
    HeaderName::from_static("x-envoy-auth-headers-to-remove");

const UNVERIFIED: Problem = Problem {
    code: ServiceCode::ContentUnverified,
    detail: "this request has signed content, which the proxy in front of the verifier does not hand on",
    hint: "ask the operator to check the digest behind the proxy and to set `content = \"checked-behind\"` on this route, or to use the reverse proxy",
    retry_after: None,
};

/// Answers a question about a request that passed the verifier: 200, and who calls.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    checks: Arc<RouteFinder<ContentCheck>>,
}

impl Answer {
    pub(crate) fn new(checks: RouteFinder<ContentCheck>) -> Self {
        Self { checks: Arc::new(checks) }
    }
}

/// The fields that the proxy got, and that it takes out if the answer says so. In the extensions of a request.
#[derive(Clone, Debug)]
pub(super) struct SentFields(pub(super) Vec<HeaderName>);

/// Whether the proxy keeps the content. In the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptContent;

impl Service<Request<VerifiedBody<QuestionBody>>> for Answer {
    type Response = Response<ProxiedBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<VerifiedBody<QuestionBody>>) -> Self::Future {
        let caller = Caller::known(request.extensions());
        let is_signed = caller.as_ref().is_some_and(|caller| caller.proof() == Proof::Signed);
        let is_kept = request.extensions().get::<KeptContent>().is_some();
        let check = self.checks.find(request.method(), request.uri().path()).unwrap_or_default();
        if is_signed && is_kept && check == ContentCheck::Verified {
            return ready(Ok(UNVERIFIED.to_response().map(ProxiedBody::own)));
        }
        let mut response = Response::new(ProxiedBody::own(Bytes::new()));
        set_identity(response.headers_mut(), caller.as_ref());
        let digest = request.headers().get(CONTENT_DIGEST).filter(|_| is_signed && is_kept);
        // A copy: an answer is kept for a while, and the head of the question is not.
        let digest = digest.and_then(|digest| HeaderValue::from_bytes(digest.as_bytes()).ok());
        let digest = digest.unwrap_or_else(|| HeaderValue::from_static(""));
        response.headers_mut().insert(SIGNED_DIGEST, digest);
        if let Some(SentFields(sent)) = request.extensions().get() {
            let removed = fields_to_remove(sent, request.headers());
            response.headers_mut().extend(removed.map(|names| (HEADERS_TO_REMOVE, names)));
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}

/// Returns the names of the fields that the server behind the proxy does not get: those that the verifier took out, and those that
/// only this service writes.
fn fields_to_remove(sent: &[HeaderName], verified: &HeaderMap) -> Option<HeaderValue> {
    let is_removed = |name: &&HeaderName| {
        let is_answered = FIELDS.contains(name) || **name == SIGNED_DIGEST;
        !verified.contains_key(*name) || is_reserved(name) && !is_answered
    };
    let names: Vec<_> = sent.iter().filter(is_removed).map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(",")).ok().filter(|names| !names.is_empty())
}
