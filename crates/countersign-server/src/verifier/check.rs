//! The way of one request through a verifier, from top to bottom. The numbers are those of [`Check::ALL`](countersign::Check::ALL) and of
//! docs/protocol.md, "The order of checks".

use std::sync::Arc;

use bytes::Bytes;
use countersign::{Code, Content, ResponseHead, TARGET_OVERRIDES, Target, Timestamp};
use countersign_store::{ClientNetwork, Gate, KeyStore, QuotaLeft};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Version,
    header::{CACHE_CONTROL, CONTENT_LENGTH, COOKIE},
    request::Parts,
};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    Verifier,
    admission::{Admitted, Hidden},
    demand::{Arrival, Behind, Demand},
};
use crate::{
    BoxError,
    caller::{
        Caller,
        verification::{Requirements, Verification},
    },
    content::{
        guarded_body::GuardedBody,
        verified_body::{Verdict, VerifiedBody},
    },
    ingress::original_uri,
    refusal::{
        self, Circumstances, RefusalSettings, add_quota_left,
        reason::{Reason, Refused},
        respond,
        unaccepted::Unaccepted,
    },
    route::{BodyMode, rollout::Rollout},
    telemetry::{self, Outcome},
};

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Has the service answer a request that may pass, or refuses it.
    pub(super) async fn handle<S, B, C>(
        &self,
        request: Request<B>,
        behind: &Behind,
        mut service: S,
    ) -> Result<Response<GuardedBody<C>>, S::Error>
    where
        S: Service<Request<VerifiedBody<B>>, Response = Response<C>>,
        B: Body<Error: Into<BoxError>> + Unpin + Send,
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match self.check(request, behind).await {
            Ok((request, marks)) => {
                // 11. The handler. Its layers may make check 10, of an access token.
                let response = service.call(request).await?;
                Ok(self.finish(marks, response).await)
            }
            Err(refused) => Ok(refused),
        }
    }

    async fn check<B, C>(
        &self,
        request: Request<B>,
        behind: &Behind,
    ) -> Result<(Request<VerifiedBody<B>>, Marks), Response<GuardedBody<C>>>
    where
        B: Body<Error: Into<BoxError>> + Unpin + Send,
    {
        let (mut head, body) = request.into_parts();
        if self.declared.is_public(&head) {
            let target = Target::new(original_uri(&head), head.version);
            let demand = self.declared.demand(&head, target, Content::Absent, behind);
            if demand.rollout == Rollout::Enforce {
                for name in &TARGET_OVERRIDES {
                    head.headers.remove(name);
                }
            }
            let request = Request::from_parts(head, VerifiedBody::unchecked(body));
            return Ok((request, Marks::default()));
        }
        let now = self.now();
        let arrival = Arrival::of(&body);
        let source = self.locate(&mut head);
        let target = Target::new(original_uri(&head), head.version);
        let demand = self.declared.demand(&head, target, arrival.content, behind);
        let (rollout, measurement) = (demand.rollout, demand.begin_measurement());
        let (accepted, requirements) = match rollout {
            Rollout::Off => {
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Unchecked), Requirements::Ignored)
            }
            Rollout::Observe => {
                let admitted = self.admit(&head, target, &demand, arrival, source, now).await;
                self.observe(&head, admitted, &demand, body).await
            }
            Rollout::Enforce => {
                // 1 to 8.
                let admitted = self.admit(&head, target, &demand, arrival, source, now).await;
                let received = match admitted {
                    Ok(admitted) => {
                        // 9. The content.
                        self.receive(admitted, &demand, body, &head, arrival.content, now).await
                    }
                    Err(refused) => Err(refused),
                };
                match received {
                    Ok(accepted) => (accepted, Requirements::Enforced),
                    Err(refused) => {
                        measurement.end(Outcome::Refused(refused.reason.code()));
                        self.charge_failure(&head, &refused.reason);
                        let circumstances = Circumstances {
                            method: &head.method,
                            version: head.version,
                            headers: Some(&head.headers),
                            content: arrival.content,
                            now,
                            settings: Some(&self.refusals),
                        };
                        return Err(respond(&refused, &circumstances));
                    }
                }
            }
        };
        let Accepted { caller, content, body, hidden, marks, outcome } = accepted;
        measurement.end(outcome);
        if rollout == Rollout::Enforce {
            trim(&mut head.headers);
            join_cookies(&mut head.headers);
            for name in &hidden {
                head.headers.remove(name);
            }
        }
        let route = demand.label();
        head.extensions.insert(Verification {
            caller,
            content,
            requirements,
            route,
            arrived: arrival.content,
            now,
            settings: Arc::clone(&self.refusals),
        });
        Ok((Request::from_parts(head, body), marks))
    }

    /// Takes the content of a request that was admitted.
    async fn receive<B>(
        &self,
        admitted: Admitted,
        demand: &Demand<'_>,
        body: B,
        head: &Parts,
        content: Content,
        now: Timestamp,
    ) -> Result<Accepted<B>, Refused>
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let private =
            |quota_left| Marks { caching: Caching::NoStore, quota_left, ..Marks::default() };
        // Nobody signed another target than the one that was looked up.
        let hidden_from_unsigned = || Hidden::from(TARGET_OVERRIDES);
        Ok(match admitted {
            Admitted::Open => Accepted {
                hidden: hidden_from_unsigned(),
                ..Accepted::unknown(VerifiedBody::unchecked(body), Outcome::Open)
            },
            Admitted::Publishable(caller, quota_left) => Accepted {
                caller: Some(caller),
                content: None,
                // It has no content; what may still come of it, as trailers, is nobody's to read.
                body: VerifiedBody::whole(Bytes::new()),
                hidden: hidden_from_unsigned(),
                marks: Marks { reader: self.sender(head), ..private(quota_left) },
                outcome: Outcome::Publishable,
            },
            Admitted::Signed(caller, claimed, quota_left, hidden) => {
                let limit = self.content_limit_of(demand);
                let (mut marks, outcome) = (private(quota_left), Outcome::Signed);
                // Where there is nothing to come, nobody would read its end.
                let body_mode = match content {
                    Content::Absent => BodyMode::Buffered,
                    Content::Present => demand.body_mode,
                };
                match body_mode {
                    BodyMode::Buffered => {
                        let credential = caller.credential();
                        let content = self.gather(demand, body, claimed, credential).await;
                        let caller = Some(caller);
                        let content = content.map_err(|unfit| unfit.reason)?;
                        let body = VerifiedBody::whole(content.clone());
                        Accepted { caller, content: Some(content), body, hidden, marks, outcome }
                    }
                    BodyMode::Streamed { .. } => {
                        let (body, verdict) = VerifiedBody::streamed(body, claimed, limit);
                        marks.streamed = Some(StreamedMark {
                            verdict,
                            method: head.method.clone(),
                            version: head.version,
                            now,
                            settings: Arc::clone(&self.refusals),
                        });
                        let caller = Some(caller);
                        Accepted { caller, content: None, body, hidden, marks, outcome }
                    }
                }
            }
        })
    }

    /// Lets a request pass as it would have without a verifier. Counts and logs what the verifier and inner layers would refuse.
    async fn observe<B>(
        &self,
        head: &Parts,
        admitted: Result<Admitted, Refused>,
        demand: &Demand<'_>,
        body: B,
    ) -> (Accepted<B>, Requirements)
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let observed =
            |caller: Caller| (Some(caller.clone()), Requirements::Observed(Some(caller)));
        let marks = Marks::default();
        match admitted {
            Err(Refused { reason, .. }) => {
                let code = self.observe_refusal(head, &reason);
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
            }
            Ok(Admitted::Open) => {
                let body = VerifiedBody::unchecked(body);
                (Accepted::unknown(body, Outcome::Open), Requirements::Observed(None))
            }
            Ok(Admitted::Publishable(caller, _)) => {
                let (body, outcome) = (VerifiedBody::unchecked(body), Outcome::Publishable);
                let (caller, requirements) = observed(caller);
                let hidden = Hidden::default();
                (Accepted { caller, content: None, body, hidden, marks, outcome }, requirements)
            }
            Ok(Admitted::Signed(caller, claimed, _, _)) => match demand.body_mode {
                BodyMode::Buffered => {
                    match self.gather(demand, body, claimed, caller.credential()).await {
                        Ok(content) => {
                            let body = VerifiedBody::whole(content.clone());
                            let (caller, requirements) = observed(caller);
                            let (content, outcome) = (Some(content), Outcome::Signed);
                            let hidden = Hidden::default();
                            (
                                Accepted { caller, content, body, hidden, marks, outcome },
                                requirements,
                            )
                        }
                        Err(unfit) => {
                            let code = self.observe_refusal(head, &unfit.reason);
                            let body = VerifiedBody::resumed(unfit);
                            (Accepted::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
                        }
                    }
                }
                // Nobody has compared its content, so that nobody is named as its sender.
                BodyMode::Streamed { .. } => {
                    let body = VerifiedBody::unchecked(body);
                    let requirements = Requirements::Observed(Some(caller));
                    (Accepted::unknown(body, Outcome::Signed), requirements)
                }
            },
        }
    }

    /// Counts and logs a refusal that takes no effect.
    fn observe_refusal(&self, head: &Parts, reason: &Reason) -> Code {
        self.charge_failure(head, reason);
        let code = reason.code();
        tracing::info!(%code, detail = reason.for_log(), "would be refused");
        code
    }

    /// Puts on a response what the verifier has to say.
    async fn finish<C>(&self, marks: Marks, response: Response<C>) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Marks { caching, quota_left, streamed, reader } = marks;
        let mut response = match streamed {
            Some(streamed) => streamed.settle(response).await,
            None => response.map(GuardedBody::unguarded),
        };
        refusal::unmark_others(&mut response);
        // A layer further in refused a key, and nobody is to learn that the verifier knows it.
        let unaccepted = response.extensions_mut().remove::<Unaccepted>();
        if let Some(unaccepted) = &unaccepted {
            self.charge_unaccepted(reader, unaccepted);
        }
        let headers = response.headers_mut();
        if caching == Caching::NoStore {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        if let Some(quota_left) = quota_left.as_ref().filter(|_| unaccepted.is_none()) {
            add_quota_left(headers, quota_left);
        }
        response
    }
}

/// A request that goes on to the service.
struct Accepted<B> {
    caller: Option<Caller>,
    /// The content that was signed, where it was gathered.
    content: Option<Bytes>,
    body: VerifiedBody<B>,
    hidden: Hidden,
    marks: Marks,
    outcome: Outcome,
}

impl<B> Accepted<B> {
    /// A request without a known caller.
    fn unknown(body: VerifiedBody<B>, outcome: Outcome) -> Self {
        let (hidden, marks) = (Hidden::default(), Marks::default());
        Self { caller: None, content: None, body, hidden, marks, outcome }
    }
}

/// What the response to an accepted request is given.
#[derive(Default)]
struct Marks {
    caching: Caching,
    quota_left: Option<QuotaLeft>,
    streamed: Option<StreamedMark>,
    /// The sender of a read by a publishable key, which a layer further in can still refuse.
    reader: Option<ClientNetwork>,
}

/// Content that the handler reads itself.
struct StreamedMark {
    verdict: oneshot::Receiver<Verdict>,
    // What a refusal of it depends on.
    method: Method,
    version: Version,
    now: Timestamp,
    settings: Arc<RefusalSettings>,
}

/// Whether caches may store a response whose handler set no `Cache-Control`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Caching {
    NoStore,
    #[default]
    Unsaid,
}

impl StreamedMark {
    /// The handler's response if the content was what was signed, or else a refusal; where the response has to begin before
    /// that is known, a body that ends with an error unless it was.
    async fn settle<C>(self, response: Response<C>) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Self { verdict, method, version, now, settings } = self;
        let (mut head, body) = response.into_parts();
        // A handler that refuses has promised nothing, and may do so without reading on.
        let refuses = head.status.is_client_error() || head.status.is_server_error();
        let told = ResponseHead { status: head.status, headers: &head.headers };
        let mut body = match told.may_have_content(&method) {
            true => GuardedBody::guarded(body, verdict),
            false => {
                drop(body);
                GuardedBody::without_content(verdict)
            }
        };
        if !refuses {
            std::future::poll_fn(|context| body.poll_gathered(context)).await;
        }
        let failure = body.failure().filter(|&reason| match reason {
            Reason::ContentUnread => !refuses,
            // Whatever the handler made of it: what it has read is not what was signed.
            _ => true,
        });
        if let Some(reason) = failure {
            telemetry::count_failed_stream(reason.code());
            let circumstances = Circumstances {
                method: &method,
                version,
                headers: None,
                content: Content::Present,
                now,
                settings: Some(&settings),
            };
            return respond(&reason.clone().into(), &circumstances);
        }
        if refuses {
            body.release();
        } else if body.is_waiting() {
            // Whoever counts bytes must not take the response for whole before its end.
            head.headers.remove(CONTENT_LENGTH);
        }
        Response::from_parts(head, body)
    }
}

/// Takes the outer white space off all fields, which is part of no value (RFC 9110 §5.5) and of no signature base. Over
/// HTTP/1.1 there is none; over HTTP/2 a handler would read another value than the one that was verified.
fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() == value.len() {
            continue;
        }
        if let Ok(mut other) = HeaderValue::from_bytes(trimmed) {
            other.set_sensitive(value.is_sensitive());
            *value = other;
        }
    }
}

/// Puts several `Cookie` fields together, as RFC 9113 §8.2.3 has it and as signature bases have them: a handler that reads the
/// first one alone would else read less than was signed.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
    if cookies.len() < 2 {
        return;
    }
    let sensitive = cookies.iter().any(|cookie| cookie.is_sensitive());
    let pieces: Vec<_> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        whole.set_sensitive(sensitive);
        headers.insert(COOKIE, whole);
    }
}
