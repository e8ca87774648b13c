//! Forward authentication: a proxy asks about each request, and forwards the request itself if the answer is 200.

pub(crate) mod answer;
pub(crate) mod answer_body;
#[cfg(feature = "envoy-grpc")]
mod checks;
pub(crate) mod proxy_kind;
mod question;
pub(crate) mod question_body;
pub(crate) mod recent_answers;
pub(crate) mod set_up;

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign::{Code, Content, RefusedRequest};
use countersign_server::{ServedBody, Verifier, VerifierService};
use countersign_store::{ClientAddress, Gate, KeyStore};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use tower_layer::Layer as _;
use tower_service::Service;

use self::{
    answer::{Answer, KeptContent, SentFields},
    answer_body::AnswerBody,
    proxy_kind::ProxyKind,
    question::{BadQuestion, Question},
    question_body::QuestionBody,
    recent_answers::{AskedBefore, RecentAnswers},
};
use crate::{
    config::{route_finder::RouteFinder, route_settings::RouteSettings},
    problem::{Problem, mark, request_id},
    service_code::ServiceCode,
};

const NO_PROXY: Problem = Problem {
    code: ServiceCode::ProxyUnknown,
    detail: "this address is for the proxies of the service, and the request comes from none of them",
    hint: "send the request to the service itself; an operator lists the addresses of proxies with --proxy",
    retry_after: None,
};

const FORGOTTEN: Problem = Problem {
    code: ServiceCode::AnswerForgotten,
    detail: "the request was refused, and the reason is not known here any more",
    hint: "sign the request again, and send it again",
    retry_after: None,
};

/// Answers the questions of proxies, which forward the requests themselves: the service to serve in the place of one behind a
/// [`Verifier`]. [`run`](crate::run) does so with `auth --from`.
#[derive(Clone, Debug)]
pub struct ForwardAuth<K, G> {
    kind: ProxyKind,
    proxies: Arc<[IpNet]>,
    answers: Arc<RecentAnswers>,
    whole: VerifierService<Answer, K, G>,
    kept: VerifierService<Answer, K, G>,
}

/// Where the content of a request is that a proxy asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedContent {
    /// It came with the question, or there is none.
    Whole,
    /// The proxy keeps it, or a part of it.
    Kept,
}

impl<K: KeyStore + Clone, G: Gate + Clone> ForwardAuth<K, G> {
    /// Answers proxies of this kind that connect from these addresses. The verifiers are made from the same stores and settings; on the
    /// one for content that the proxy keeps, routes are set to
    /// [`insecure_content_elsewhere`](countersign_server::Route::insecure_content_elsewhere).
    ///
    /// A signed request whose content the proxy keeps is refused after everything else about it was verified.
    pub fn new(
        kind: ProxyKind,
        proxies: impl IntoIterator<Item = IpNet>,
        verifier: impl Fn(AskedContent) -> Verifier<K, G>,
    ) -> Self {
        let answer = Answer::new(RouteFinder::new(&[], RouteSettings::content));
        Self::with(kind, proxies, Arc::default(), &answer, verifier)
    }

    pub(crate) fn with(
        kind: ProxyKind,
        proxies: impl IntoIterator<Item = IpNet>,
        answers: Arc<RecentAnswers>,
        answer: &Answer,
        verifier: impl Fn(AskedContent) -> Verifier<K, G>,
    ) -> Self {
        let asked = |content| verifier(content).layer().layer(answer.clone());
        let (whole, kept) = (asked(AskedContent::Whole), asked(AskedContent::Kept));
        Self { kind, proxies: proxies.into_iter().collect(), answers, whole, kept }
    }

    /// Answers a question.
    pub(crate) async fn answer(self, request: Request<ServedBody>) -> Response<AnswerBody> {
        let peer = request.extensions().get::<ClientAddress>().map(|peer| peer.ip());
        let is_proxy = |peer| self.proxies.iter().any(|range| range.contains(&peer));
        let Some(peer) = peer.filter(|&peer| is_proxy(peer)) else {
            tracing::warn!(?peer, "a peer that is not listed as a proxy asks");
            let refusal = NO_PROXY.to_response();
            #[cfg(feature = "envoy-grpc")]
            if self.kind == ProxyKind::Envoy && checks::is_call(&request) {
                return checks::refuse_call(&refusal, NO_PROXY.detail).map(AnswerBody::from);
            }
            return refusal.map(AnswerBody::from);
        };
        #[cfg(feature = "envoy-grpc")]
        if self.kind == ProxyKind::Envoy && checks::is_call(&request) {
            return checks::answer(self, request, peer).await.map(AnswerBody::from);
        }
        let (head, body) = request.into_parts();
        let answer = match Question::read(self.kind, head) {
            Ok(question) => self.ask(question, QuestionBody::Passed(body), peer).await,
            Err(bad) => refuse(self.kind, bad),
        };
        answer.map(AnswerBody::from)
    }

    /// Answers a question that could be read. `content` came with it.
    async fn ask(
        &self,
        question: Question,
        content: QuestionBody,
        peer: IpAddr,
    ) -> Response<Bytes> {
        let Question { mut head, kept, id, is_refused } = question;
        let asked_before = id.map(|id| AskedBefore::new(peer, &id, &head));
        if is_refused {
            // Verified again, the request could pass, and nginx would hand the answer to its client as the response.
            let known = asked_before.and_then(|asked| self.answers.get(&asked));
            return known.unwrap_or_else(|| FORGOTTEN.to_response());
        }
        if self.kind.removes_fields() {
            head.extensions.insert(SentFields(head.headers.keys().cloned().collect()));
        }
        let (service, content) = match kept {
            Some(length) => {
                head.extensions.insert(KeptContent);
                (&self.kept, QuestionBody::Kept(length))
            }
            None => (&self.whole, content),
        };
        let ask = verify(service.clone(), Request::from_parts(head, content));
        match asked_before {
            Some(asked) => self.answers.get_or_ask(asked, ask).await,
            None => ask.await,
        }
    }
}

impl<K, G> Service<Request<ServedBody>> for ForwardAuth<K, G>
where
    K: KeyStore + Clone,
    G: Gate + Clone,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ServedBody>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

async fn verify<K: KeyStore, G: Gate>(
    mut service: VerifierService<Answer, K, G>,
    request: Request<QuestionBody>,
) -> Response<Bytes> {
    let Ok(mut response) = service.call(request).await;
    mark(&mut response);
    let (mut head, body) = response.into_parts();
    head.extensions.clear();
    // Made in memory: it cannot break off.
    let content = body.collect().await.map(|content| content.to_bytes()).unwrap_or_default();
    Response::from_parts(head, content)
}

/// Answers a question that could not be read.
fn refuse(kind: ProxyKind, bad: BadQuestion) -> Response<Bytes> {
    let detail = match bad {
        BadQuestion::Target => return bad_target(),
        BadQuestion::Forged(_) => {
            tracing::debug!(%bad, "a request was refused");
            "a field of this request names another method or target than the request has"
        }
        BadQuestion::Misspelt => {
            tracing::debug!(%bad, "a request was refused");
            "a field of this request is spelled like one that the proxy sets"
        }
        BadQuestion::Unreadable(_) => {
            tracing::debug!(%bad, "a request was refused");
            "the method or a field of this request has characters that HTTP does not allow"
        }
        BadQuestion::Missing(_) | BadQuestion::Malformed(_) => {
            tracing::error!(
                %kind, %bad,
                "the proxy is not set up as `countersign serve config` prints; its questions cannot be answered"
            );
            "the proxy in front of the verifier does not tell which request it asks about"
        }
    };
    let problem = Problem {
        code: ServiceCode::BadQuestion,
        detail,
        hint: "leave out X-Original-, X-Forwarded- and Countersign- fields; the operator finds the reason in the log",
        retry_after: None,
    };
    problem.to_response()
}

/// The verifier's own refusal of a target that its types cannot hold.
fn bad_target() -> Response<Bytes> {
    let code = Code::BadTarget;
    let problem = countersign::Problem {
        code,
        status: code.status(),
        detail: "the target is no path of this service, or has a fragment".into(),
        hint: code.hint().into(),
        retry_after: None,
        violated_policy: None,
        signature_base: None,
    };
    let request_id = request_id();
    tracing::debug!(%code, request_id, "a request was refused");
    let refused = RefusedRequest {
        method: &Method::GET,
        headers: &HeaderMap::new(),
        content: Content::Absent,
        policy: None,
        now: None,
        request_id: &request_id,
    };
    problem.to_response(&refused).map(Bytes::from)
}
