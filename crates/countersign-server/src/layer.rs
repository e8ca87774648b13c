use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign::{Code, Content, ResponseHead, TARGET_OVERRIDES, Target, Timestamp};
use countersign_store::{ClientNetwork, Gate, KeyStore, QuotaLeft};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, COOKIE},
    request::Parts,
};
use http_body::Body;
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;

use crate::{
    BoxError, Caller, GuardedBody, Rollout, VerifiedBody, Verifier,
    guarded_body::Verdict,
    passed::{Passed, Requirements},
    reason::{Reason, Refused},
    refusal::{Circumstances, answer, tell_level},
    route::Delivery,
    telemetry::{self, Outcome},
    unaccepted::Unaccepted,
    verifier::{Admitted, Arrival, Demand, Hidden},
};

/// Puts a [`Verifier`] in front of a service. Made by [`Verifier::layer`].
pub struct VerifierLayer<K, G> {
    verifier: Arc<Verifier<K, G>>,
    behind: Behind,
}

/// What a service behind a verifier was declared to be.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    /// Several routes, which the verifier's table tells apart.
    Routes,
    /// The route that this is, which whoever routes knows best.
    #[cfg(feature = "axum")]
    Route(Arc<crate::Route>),
    /// Nothing, whatever else is declared.
    #[cfg(feature = "axum")]
    Undeclared,
}

impl<K, G> VerifierLayer<K, G> {
    pub(crate) const fn new(verifier: Arc<Verifier<K, G>>) -> Self {
        Self { verifier, behind: Behind::Routes }
    }

    /// The same in front of this alone.
    #[cfg(feature = "axum")]
    pub(crate) fn before(&self, behind: Behind) -> Self {
        Self { verifier: Arc::clone(&self.verifier), behind }
    }
}

impl<K, G> Clone for VerifierLayer<K, G> {
    fn clone(&self) -> Self {
        Self { verifier: Arc::clone(&self.verifier), behind: self.behind.clone() }
    }
}

impl<K, G> std::fmt::Debug for VerifierLayer<K, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VerifierLayer").field(&self.verifier).finish()
    }
}

impl<S, K, G> Layer<S> for VerifierLayer<K, G> {
    type Service = VerifierService<S, K, G>;

    fn layer(&self, service: S) -> Self::Service {
        let Self { verifier, behind } = self.clone();
        VerifierService { verifier, behind, service }
    }
}

/// A service behind a [`Verifier`].
pub struct VerifierService<S, K, G> {
    verifier: Arc<Verifier<K, G>>,
    behind: Behind,
    service: S,
}

impl<S: Clone, K, G> Clone for VerifierService<S, K, G> {
    fn clone(&self) -> Self {
        let (verifier, behind) = (Arc::clone(&self.verifier), self.behind.clone());
        Self { verifier, behind, service: self.service.clone() }
    }
}

impl<S, K, G> std::fmt::Debug for VerifierService<S, K, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifierService").finish_non_exhaustive()
    }
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S, K, G, B, C> Service<Request<B>> for VerifierService<S, K, G>
where
    S: Service<Request<VerifiedBody<B>>, Response = Response<C>> + Clone + Send + 'static,
    S::Future: Send,
    K: KeyStore,
    G: Gate,
    B: Body<Data: Send, Error: Into<BoxError>> + Unpin + Send + 'static,
    C: Body<Data = Bytes, Error: Into<BoxError>> + Send,
{
    type Response = Response<GuardedBody<C>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one to call.
        let waiting = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, waiting);
        let (verifier, behind) = (Arc::clone(&self.verifier), self.behind.clone());
        let handled = async move {
            match verifier.check(request, &behind).await {
                Ok((request, marks)) => {
                    let response = service.call(request).await?;
                    Ok(verifier.put_on(marks, response).await)
                }
                Err(refused) => Ok(refused),
            }
        };
        Box::pin(handled.instrument(telemetry::span()))
    }
}

/// What the answer of a handler is given.
#[derive(Default)]
struct Marks {
    kept_private: KeptPrivate,
    level: Option<QuotaLeft>,
    streamed: Option<StreamedMark>,
    /// The sender of a read by a publishable key, which a layer further in can still refuse.
    reader: Option<ClientNetwork>,
}

/// Content that the handler reads itself.
struct StreamedMark {
    verdict: oneshot::Receiver<Verdict>,
    /// What a refusal of it depends on.
    circumstances: Circumstances,
    method: Method,
}

/// Whether caches may keep an answer of which the handler does not say so.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum KeptPrivate {
    Yes,
    #[default]
    No,
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    async fn put_on<C>(&self, marks: Marks, response: Response<C>) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Marks { kept_private, level, streamed, reader } = marks;
        let mut response = match streamed {
            Some(streamed) => streamed.settle(response).await,
            None => response.map(GuardedBody::unguarded),
        };
        // A layer further in refused a key, and nobody is to learn that the verifier knows it.
        let unaccepted = response.extensions_mut().remove::<Unaccepted>();
        if let Some(unaccepted) = &unaccepted {
            self.charge_unaccepted(reader, unaccepted);
        }
        let headers = response.headers_mut();
        if kept_private == KeptPrivate::Yes {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        if let Some(level) = level.as_ref().filter(|_| unaccepted.is_none()) {
            tell_level(headers, level);
        }
        response
    }
}

impl StreamedMark {
    /// The handler's response if the content was what was signed, or else a refusal; where the response has to begin before
    /// that is known, a body that ends with an error unless it was.
    async fn settle<C>(self, response: Response<C>) -> Response<GuardedBody<C>>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Self { verdict, circumstances, method } = self;
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
            return answer(&reason.clone().into(), &circumstances, &HeaderMap::new());
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

/// What of a request gets past the verifier.
struct Pass<B> {
    caller: Option<Caller>,
    /// The content that was signed, where it was gathered.
    content: Option<Bytes>,
    body: VerifiedBody<B>,
    hidden: Hidden,
    marks: Marks,
    outcome: Outcome,
}

impl<B> Pass<B> {
    /// Of a request of whose caller nothing is known.
    fn unknown(body: VerifiedBody<B>, outcome: Outcome) -> Self {
        let (hidden, marks) = (Hidden::default(), Marks::default());
        Self { caller: None, content: None, body, hidden, marks, outcome }
    }
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    async fn check<B, C>(
        &self,
        request: Request<B>,
        behind: &Behind,
    ) -> Result<(Request<VerifiedBody<B>>, Marks), Response<GuardedBody<C>>>
    where
        B: Body<Error: Into<BoxError>> + Unpin + Send,
    {
        let (mut head, body) = request.into_parts();
        if self.is_public(&head) {
            let request = Request::from_parts(head, VerifiedBody::unchecked(body));
            return Ok((request, Marks::default()));
        }
        let now = self.now();
        let arrival = Arrival::of(&body);
        let circumstances = self.circumstances(&head, arrival.content, now);
        let whence = self.locate(&mut head);
        let target = Target::new(original_uri(&head), head.version);
        let demand = self.demand(&head, target, arrival.content, behind);
        let (rollout, passing) = (demand.rollout, demand.begin());
        let (pass, requirements) = match rollout {
            Rollout::Off => {
                let body = VerifiedBody::unchecked(body);
                (Pass::unknown(body, Outcome::Unchecked), Requirements::Ignored)
            }
            Rollout::Observe => {
                let admitted = self.admit(&head, target, &demand, arrival, whence, now).await;
                self.observe(&head, admitted, &demand, body, now).await
            }
            Rollout::Enforce => {
                let admitted = self.admit(&head, target, &demand, arrival, whence, now).await;
                let passed = match admitted {
                    Ok(admitted) => {
                        self.receive(admitted, &demand, body, &head, &circumstances).await
                    }
                    Err(refused) => Err(refused),
                };
                match passed {
                    Ok(pass) => (pass, Requirements::Enforced),
                    Err(refused) => {
                        passing.end(Outcome::Refused(refused.reason.code()));
                        self.charge_failure(&head, &refused.reason, now).await;
                        return Err(answer(&refused, &circumstances, &head.headers));
                    }
                }
            }
        };
        let Pass { caller, content, body, hidden, marks, outcome } = pass;
        passing.end(outcome);
        if rollout == Rollout::Enforce {
            trim(&mut head.headers);
            join_cookies(&mut head.headers);
            for name in &hidden {
                head.headers.remove(name);
            }
        }
        let route = demand.label();
        head.extensions.insert(Passed { caller, content, requirements, route, circumstances });
        Ok((Request::from_parts(head, body), marks))
    }

    /// Takes the content of a request that was admitted.
    async fn receive<B>(
        &self,
        admitted: Admitted,
        demand: &Demand<'_>,
        body: B,
        head: &Parts,
        circumstances: &Circumstances,
    ) -> Result<Pass<B>, Refused>
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let private = |level| Marks { kept_private: KeptPrivate::Yes, level, ..Marks::default() };
        // Nobody signed another target than the one that was looked up.
        let hidden_from_unsigned = || Hidden::from(TARGET_OVERRIDES);
        Ok(match admitted {
            Admitted::Open => Pass {
                hidden: hidden_from_unsigned(),
                ..Pass::unknown(VerifiedBody::unchecked(body), Outcome::Open)
            },
            Admitted::Publishable(caller, level) => Pass {
                caller: Some(caller),
                content: None,
                // It has no content; what may still come of it, as trailers, is nobody's to read.
                body: VerifiedBody::whole(Bytes::new()),
                hidden: hidden_from_unsigned(),
                marks: Marks { reader: self.sender(head), ..private(level) },
                outcome: Outcome::Publishable,
            },
            Admitted::Signed(caller, claimed, level, hidden) => {
                let limit = self.content_limit_of(demand);
                let (mut marks, outcome) = (private(level), Outcome::Signed);
                let credential = caller.credential().id;
                let caller = Some(caller);
                // Where there is nothing to come, nobody would read its end.
                let delivery = match circumstances.content {
                    Content::Absent => Delivery::Whole,
                    Content::Present => demand.delivery,
                };
                match delivery {
                    Delivery::Whole => {
                        let content = self.gather(demand, body, claimed, credential).await;
                        let content = content.map_err(|unfit| unfit.reason)?;
                        let body = VerifiedBody::whole(content.clone());
                        Pass { caller, content: Some(content), body, hidden, marks, outcome }
                    }
                    Delivery::Streamed { .. } => {
                        let (body, verdict) = VerifiedBody::streamed(body, claimed, limit);
                        let (circumstances, method) = (circumstances.clone(), head.method.clone());
                        marks.streamed = Some(StreamedMark { verdict, circumstances, method });
                        Pass { caller, content: None, body, hidden, marks, outcome }
                    }
                }
            }
        })
    }

    /// Lets a request pass as it would have without a verifier, and says what would have become of it, here and further in.
    async fn observe<B>(
        &self,
        head: &Parts,
        admitted: Result<Admitted, Refused>,
        demand: &Demand<'_>,
        body: B,
        now: Timestamp,
    ) -> (Pass<B>, Requirements)
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        let observed =
            |caller: Caller| (Some(caller.clone()), Requirements::Observed(Some(caller)));
        let marks = Marks::default();
        match admitted {
            Err(Refused { reason, .. }) => {
                let code = self.observe_refusal(head, &reason, now).await;
                let body = VerifiedBody::unchecked(body);
                (Pass::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
            }
            Ok(Admitted::Open) => {
                let body = VerifiedBody::unchecked(body);
                (Pass::unknown(body, Outcome::Open), Requirements::Observed(None))
            }
            Ok(Admitted::Publishable(caller, _)) => {
                let (body, outcome) = (VerifiedBody::unchecked(body), Outcome::Publishable);
                let (caller, requirements) = observed(caller);
                let hidden = Hidden::default();
                (Pass { caller, content: None, body, hidden, marks, outcome }, requirements)
            }
            Ok(Admitted::Signed(caller, claimed, _, _)) => match demand.delivery {
                Delivery::Whole => {
                    match self.gather(demand, body, claimed, caller.credential().id).await {
                        Ok(content) => {
                            let body = VerifiedBody::whole(content.clone());
                            let (caller, requirements) = observed(caller);
                            let (content, outcome) = (Some(content), Outcome::Signed);
                            let hidden = Hidden::default();
                            (Pass { caller, content, body, hidden, marks, outcome }, requirements)
                        }
                        Err(unfit) => {
                            let code = self.observe_refusal(head, &unfit.reason, now).await;
                            let body = VerifiedBody::resumed(unfit);
                            (Pass::unknown(body, Outcome::Refused(code)), Requirements::Ignored)
                        }
                    }
                }
                // Nobody has compared its content, so that nobody is named as its sender.
                Delivery::Streamed { .. } => {
                    let body = VerifiedBody::unchecked(body);
                    let requirements = Requirements::Observed(Some(caller));
                    (Pass::unknown(body, Outcome::Signed), requirements)
                }
            },
        }
    }
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Counts and logs a refusal that takes no effect.
    async fn observe_refusal(&self, head: &Parts, reason: &Reason, now: Timestamp) -> Code {
        self.charge_failure(head, reason, now).await;
        let code = reason.code();
        tracing::info!(%code, detail = reason.for_log(), "would be refused");
        code
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

/// The URI as it was received: a nested router sees a shortened one.
#[cfg(feature = "axum")]
pub(crate) fn original_uri(head: &http::request::Parts) -> &http::Uri {
    let original = head.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(&head.uri, |original| &original.0)
}

#[cfg(not(feature = "axum"))]
pub(crate) const fn original_uri(head: &http::request::Parts) -> &http::Uri {
    &head.uri
}
