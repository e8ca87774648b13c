//! Forward authentication: a proxy asks about each request, and forwards the request itself if the answer is 200.

pub(crate) mod answer;
pub(crate) mod proxy_kind;
mod question;
pub(crate) mod question_body;
pub(crate) mod recent_answers;
pub(crate) mod set_up;

use std::sync::Arc;

use bytes::Bytes;
use countersign::{SIGNATURE, SIGNATURE_INPUT};
use countersign_server::{ServedBody, VerifierService};
use countersign_store::{ClientAddress, Registry};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use tower_service::Service as _;

use self::{
    answer::{Answer, KeptContent},
    proxy_kind::ProxyKind,
    question::{BadQuestion, Question},
    question_body::QuestionBody,
    recent_answers::{AskedBefore, RecentAnswers},
};
use crate::{gate::ServiceGate, problem::Problem};

const NO_PROXY: Problem = Problem {
    code: "proxy-unknown",
    status: StatusCode::FORBIDDEN,
    title: "Only proxies may ask",
    detail: "this address is for the proxies of the service, and the request comes from none of them",
    hint: "send the request to the service itself; an operator lists the addresses of proxies with --proxy",
    retry_after: None,
};

/// Answers the questions of proxies.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    kind: ProxyKind,
    proxies: Arc<[IpNet]>,
    answers: Arc<RecentAnswers>,
    service: VerifierService<Answer, Arc<Registry>, Arc<ServiceGate>>,
}

impl Auth {
    pub(crate) fn new(
        kind: ProxyKind,
        proxies: &[IpNet],
        answers: Arc<RecentAnswers>,
        service: VerifierService<Answer, Arc<Registry>, Arc<ServiceGate>>,
    ) -> Self {
        Self { kind, proxies: proxies.into(), answers, service }
    }

    /// Answers a question.
    pub(crate) async fn answer(self, request: Request<ServedBody>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<ClientAddress>().map(|peer| peer.ip());
        let is_proxy = |peer| self.proxies.iter().any(|range| range.contains(&peer));
        if !peer.is_some_and(is_proxy) {
            tracing::warn!(?peer, "a peer that is not listed as a proxy asks");
            return NO_PROXY.to_response();
        }
        let question = match Question::read(self.kind, head) {
            Ok(question) => question,
            Err(bad) => return refuse(self.kind, bad),
        };
        let Question { head, kept, id } = question;
        let asked_before = id.map(|(proxy, request_id)| AskedBefore {
            proxy,
            request_id,
            method: head.method.clone(),
            target: head.uri.clone(),
            signature: [SIGNATURE, SIGNATURE_INPUT]
                .iter()
                .flat_map(|name| head.headers.get_all(name))
                .cloned()
                .collect(),
        });
        let body = match kept {
            Some(length) => QuestionBody::Kept(length),
            None => QuestionBody::Passed(body),
        };
        let mut request = Request::from_parts(head, body);
        if kept.is_some() {
            request.extensions_mut().insert(KeptContent);
        }
        let ask = verify(self.service, request);
        match asked_before {
            Some(asked) => self.answers.get_or_ask(asked, ask).await,
            None => ask.await,
        }
    }
}

async fn verify(
    mut service: VerifierService<Answer, Arc<Registry>, Arc<ServiceGate>>,
    request: Request<QuestionBody>,
) -> Response<Bytes> {
    let Ok(response) = service.call(request).await;
    let (mut head, body) = response.into_parts();
    head.extensions.clear();
    // Made in memory: it cannot break off.
    let content = body.collect().await.map(|content| content.to_bytes()).unwrap_or_default();
    Response::from_parts(head, content)
}

fn refuse(kind: ProxyKind, bad: BadQuestion) -> Response<Bytes> {
    let detail = match bad {
        BadQuestion::Forged(_) => {
            tracing::debug!(%bad, "a request was refused");
            "a field of this request names another method or target than the request has"
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
        code: "bad-question",
        status: StatusCode::FORBIDDEN,
        title: "The request cannot be told",
        detail,
        hint: "leave out X-Original- and X-Forwarded- fields; the operator finds the reason in the log",
        retry_after: None,
    };
    problem.to_response()
}
