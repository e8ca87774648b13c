use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign::{Target, Timestamp};
use countersign_store::{Gate, KeyStore, Level};
use http::{HeaderMap, HeaderValue, Request, Response, header::CACHE_CONTROL};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Caller, SignedCaller, Verifier,
    refusal::{Circumstances, Reason, answer, tell_level},
    verifier::{Admitted, Arrival, Whence},
};

/// Puts a [`Verifier`] in front of a service. Made by [`Verifier::layer`].
pub struct VerifierLayer<K, G> {
    verifier: Arc<Verifier<K, G>>,
}

impl<K, G> VerifierLayer<K, G> {
    pub(crate) const fn new(verifier: Arc<Verifier<K, G>>) -> Self {
        Self { verifier }
    }
}

impl<K, G> Clone for VerifierLayer<K, G> {
    fn clone(&self) -> Self {
        Self { verifier: Arc::clone(&self.verifier) }
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
        VerifierService { verifier: Arc::clone(&self.verifier), service }
    }
}

/// A service behind a [`Verifier`].
pub struct VerifierService<S, K, G> {
    verifier: Arc<Verifier<K, G>>,
    service: S,
}

impl<S: Clone, K, G> Clone for VerifierService<S, K, G> {
    fn clone(&self) -> Self {
        Self { verifier: Arc::clone(&self.verifier), service: self.service.clone() }
    }
}

impl<S, K, G> std::fmt::Debug for VerifierService<S, K, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifierService").finish_non_exhaustive()
    }
}

/// What the layer leaves in a request's extensions for extractors: whatever they refuse is answered as the layer
/// would.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) caller: Option<Caller>,
    /// The content of a signed request, as it was signed.
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "extractors read it"))]
    pub(crate) content: Option<Bytes>,
    pub(crate) circumstances: Circumstances,
}

impl Passed {
    /// What the layer left, or the answer to a request that did not pass it.
    pub(crate) fn of<B: From<Bytes>>(
        extensions: &http::Extensions,
        version: http::Version,
    ) -> Result<&Self, Response<B>> {
        extensions.get().ok_or_else(|| {
            tracing::error!("a route is not behind the verifier; add `.layer(verifier.layer())` to the finished router");
            answer(&Reason::NoLayer, &Circumstances::unknown(version), &HeaderMap::new())
        })
    }

    /// The caller of a signed request.
    pub(crate) fn signed(&self) -> Option<SignedCaller> {
        self.caller.as_ref().and_then(Caller::to_signed)
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S, K, G, B, C> Service<Request<B>> for VerifierService<S, K, G>
where
    S: Service<Request<B>, Response = Response<C>> + Clone + Send + 'static,
    S::Future: Send,
    K: KeyStore,
    G: Gate,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    C: From<Bytes> + Send,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<C>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one to call.
        let waiting = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, waiting);
        let verifier = Arc::clone(&self.verifier);
        Box::pin(async move {
            match verifier.check(request).await {
                Ok((request, marks)) => {
                    let mut response = service.call(request).await?;
                    marks.put_on(response.headers_mut());
                    Ok(response)
                }
                Err(refused) => Ok(refused),
            }
        })
    }
}

/// What an answer is given when the handler says nothing of it.
struct Marks {
    kept_private: KeptPrivate,
    level: Option<Level>,
}

/// Whether caches may keep an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeptPrivate {
    Yes,
    No,
}

impl Marks {
    fn put_on(&self, headers: &mut HeaderMap) {
        if self.kept_private == KeptPrivate::Yes {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        if let Some(level) = &self.level {
            tell_level(headers, level);
        }
    }
}

/// What of a request gets past the verifier.
struct Pass<B> {
    caller: Option<Caller>,
    /// The content that was signed.
    content: Option<Bytes>,
    /// What the service gets to read.
    body: B,
    marks: Marks,
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    async fn check<B, C>(&self, request: Request<B>) -> Result<(Request<B>, Marks), Response<C>>
    where
        B: Body + From<Bytes> + Send,
        C: From<Bytes>,
    {
        let now = self.now();
        let (mut head, body) = request.into_parts();
        let arrival = Arrival::of(&body);
        let circumstances = self.circumstances(head.version, arrival.content, now);
        let whence = self.locate(&mut head);
        match self.pass(&head, body, arrival, whence, now).await {
            Ok(Pass { caller, content, body, marks }) => {
                head.extensions.insert(Passed { caller, content, circumstances });
                Ok((Request::from_parts(head, body), marks))
            }
            Err(reason) => {
                self.charge_failure(&head, &reason);
                Err(answer(&reason, &circumstances, &head.headers))
            }
        }
    }

    async fn pass<B>(
        &self,
        head: &http::request::Parts,
        body: B,
        arrival: Arrival,
        whence: Whence,
        now: Timestamp,
    ) -> Result<Pass<B>, Reason>
    where
        B: Body + From<Bytes> + Send,
    {
        let target = Target::new(original_uri(head), head.version);
        let marks = |kept_private, level| Marks { kept_private, level };
        Ok(match self.admit(head, target, arrival, whence, now).await? {
            Admitted::Open => {
                Pass { caller: None, content: None, body, marks: marks(KeptPrivate::No, None) }
            }
            Admitted::Publishable(caller, level) => Pass {
                caller: Some(caller),
                content: None,
                // It has no content; what may still come of it, as trailers, is nobody's to read.
                body: B::from(Bytes::new()),
                marks: marks(KeptPrivate::Yes, level),
            },
            Admitted::Signed(caller, claimed, level) => {
                let content = self.read_content(body, claimed).await?;
                Pass {
                    caller: Some(caller),
                    content: Some(content.clone()),
                    body: B::from(content),
                    marks: marks(KeptPrivate::Yes, level),
                }
            }
        })
    }
}

/// The URI as it was received: a nested router sees a shortened one.
#[cfg(feature = "axum")]
fn original_uri(head: &http::request::Parts) -> &http::Uri {
    let original = head.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(&head.uri, |original| &original.0)
}

#[cfg(not(feature = "axum"))]
const fn original_uri(head: &http::request::Parts) -> &http::Uri {
    &head.uri
}

/// Asks for a signature on the routes behind it, whatever their methods. Made for `Router::route_layer`; it works only
/// inside of a [`VerifierLayer`].
#[derive(Clone, Copy, Debug)]
pub struct RequireSigned;

impl<S> Layer<S> for RequireSigned {
    type Service = RequireSignedService<S>;

    fn layer(&self, service: S) -> Self::Service {
        RequireSignedService { service }
    }
}

/// A service behind [`RequireSigned`].
#[derive(Clone, Debug)]
pub struct RequireSignedService<S> {
    service: S,
}

impl<S, B, C> Service<Request<B>> for RequireSignedService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    C: From<Bytes> + Send + 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<C>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match Passed::of(request.extensions(), request.version()) {
            Ok(passed) if passed.signed().is_some() => Box::pin(self.service.call(request)),
            Ok(passed) => {
                let response =
                    answer(&Reason::SignatureRequired, &passed.circumstances, request.headers());
                Box::pin(std::future::ready(Ok(response)))
            }
            Err(response) => Box::pin(std::future::ready(Ok(response))),
        }
    }
}
