pub(crate) mod key_directory;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    BadServerKeys, Content, Origin, Rejection, RequestHead, ResponseHead, ResponseSigner,
    ServerKeys, SignError, Target, Timestamp, VerifyingKey,
};
use countersign_store::{ClientAddress, SystemClock};
use http::{HeaderMap, Method, Request, Response, Uri, Version, request::Parts, response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use self::key_directory::KeyDirectory;
use crate::{
    BoxError,
    content::{ContentLimit, Ungathered, guarded_body::GuardedBody, length},
    ingress::Ingress,
    refusal::{Circumstances, answer, reason::Reason},
    telemetry,
    verifier::layer::{BoxFuture, original_uri},
};

/// Signs every answer, bound to the request that it answers, so that a client can tell who made it and to what.
///
/// It belongs outside of the verifier and of whatever else answers, so that refusals are signed too, and takes the same
/// [`Ingress`], so that both see the same host in a request. It takes the content of an answer into memory to make its
/// `Content-Digest`: an answer that is larger than the limit, does not end in time, breaks off, has trailers, is signed
/// already or has a field twice that has to be covered is replaced by a refusal with 500, and the log says why. The handler
/// has run then. What streams without an end belongs into another router beside it.
///
/// Responses to requests for an unknown origin, or with a target that the verifier refuses, are sent unsigned: there is
/// nothing that they could be bound to. So are the refusals that [`serve`](crate::serve) makes by itself (heads that are too
/// large, upgrades) and those of the HTTP library to requests that it cannot read.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::{KEY_DIRECTORY_PATH, Origins, PrivateKey, ResponseSigner};
/// use countersign_server::{Ingress, SignResponses, Verifier};
/// # use countersign_store::{MemoryKeys, MemoryNonces, Window};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let now = countersign::Timestamp::from_unix(1_763_900_000);
/// # let (keys, nonces) = (MemoryKeys::default(), MemoryNonces::volatile(Window::default(), now)?);
/// let ingress = Ingress::from(Origins::new(["https://api.example.com".parse()?])?);
/// let verifier = Verifier::new(ingress.clone(), keys, nonces);
/// let key = PrivateKey::ed25519(&[7; 32]); // from a file that nobody else reads
/// let answers = SignResponses::new(ingress, ResponseSigner::new(key)?);
/// let app: Router = Router::new()
///     .route("/v1/orders", get(async || "none"))
///     .layer(verifier.layer())
///     .route_service(KEY_DIRECTORY_PATH, answers.directory([])?) // behind no verifier
///     .layer(answers);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SignResponses {
    ingress: Arc<Ingress>,
    signer: Arc<ResponseSigner>,
    clock: Clock,
    limit: ContentLimit,
}

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl SignResponses {
    /// Signs with this signer, for the origins of this [`Ingress`], which has to be the verifier's.
    pub fn new(ingress: impl Into<Ingress>, signer: ResponseSigner) -> Self {
        let clock = SystemClock::default();
        Self {
            ingress: Arc::new(ingress.into()),
            signer: Arc::new(signer),
            clock: Arc::new(move || clock.now()),
            limit: ContentLimit { bytes: 1 << 20, time: Duration::from_secs(30) },
        }
    }

    /// Where the time comes from. Default: a [`SystemClock`].
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The most content that an answer may have, in bytes, which is in memory while it is signed. Default: 1 MiB.
    pub fn content_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self
    }

    /// The longest that the content of an answer may take to be made. Default: 30 s.
    pub const fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    /// The directory of this signer's key, and of `others`: the key that comes after it, and the one from before it while
    /// clients may still have answers of that.
    ///
    /// # Errors
    ///
    /// [`BadServerKeys::Secret`].
    pub fn directory(
        &self,
        others: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<KeyDirectory, BadServerKeys> {
        let keys = std::iter::once(self.signer.verifying_key()).chain(others);
        Ok(KeyDirectory::new(self.clone(), &ServerKeys::new(keys)?))
    }

    pub(crate) fn signer(&self) -> &ResponseSigner {
        &self.signer
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// What an answer is bound to.
    pub(crate) fn asked(&self, head: &Parts) -> Result<Asked, Reason> {
        let uri = original_uri(head);
        Target::new(uri, head.version).check().map_err(Rejection::from)?;
        let peer = head.extensions.get::<ClientAddress>().map(|address| address.ip());
        let origin = self.ingress.origin(peer, &head.uri, &head.headers)?.clone();
        let mut headers = HeaderMap::new();
        for name in ["signature-input", "signature"].map(http::HeaderName::from_static) {
            for value in head.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let (method, uri, version) = (head.method.clone(), uri.clone(), head.version);
        Ok(Asked { method, uri, version, origin, headers })
    }

    async fn sign<C>(
        &self,
        asked: &Asked,
        response: Response<C>,
    ) -> Result<Response<GuardedBody<C>>, Unsignable>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>> + Send,
    {
        let (mut head, body) = response.into_parts();
        let unsigned = ResponseHead { status: head.status, headers: &head.headers };
        let (body, content) = match unsigned.may_have_content(&asked.method) {
            true => {
                let content = self.limit.gather(std::pin::pin!(body)).await?;
                (GuardedBody::from(content.clone()), content)
            }
            // What is there of it is content of the response to another method.
            false => {
                length::settle(&body, &asked.method, head.status, &mut head.headers);
                (GuardedBody::default(), Bytes::new())
            }
        };
        let head = self.sign_head(asked, head, &content)?;
        Ok(Response::from_parts(head, body))
    }

    fn sign_head(
        &self,
        asked: &Asked,
        mut head: response::Parts,
        content: &[u8],
    ) -> Result<response::Parts, SignError> {
        let unsigned = ResponseHead { status: head.status, headers: &head.headers };
        let signed = self.signer.sign(&unsigned, &asked.head(), content, self.now())?;
        signed.apply(&mut head.headers);
        Ok(head)
    }

    /// The answer in the place of one that cannot be signed. It is ours, so that no limit is asked for it.
    fn replace<C: From<Bytes>>(&self, asked: &Asked, reason: Unsignable) -> Response<C> {
        let reason = match reason {
            // The verifier told what it is.
            Unsignable::Content(Ungathered::Refused(reason)) => *reason,
            reason => {
                telemetry::count_unsignable();
                Reason::Unsignable(reason)
            }
        };
        let unknown = Circumstances::unknown(asked.method.clone(), asked.version);
        let circumstances = Circumstances { content: Content::Absent, ..unknown };
        let replaced: Response<Bytes> = answer(&reason.into(), &circumstances, &HeaderMap::new());
        let (head, content) = replaced.into_parts();
        // Nothing in it cannot be signed.
        let head = match self.sign_head(asked, head.clone(), &content) {
            Ok(signed) => signed,
            Err(_) => head,
        };
        Response::from_parts(head, C::from(content))
    }
}

impl fmt::Debug for SignResponses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignResponses")
            .field("ingress", &self.ingress)
            .field("signer", &self.signer)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What of a request its answer is bound to, as it was received.
pub(crate) struct Asked {
    method: Method,
    uri: Uri,
    version: Version,
    origin: Origin,
    /// The signature fields.
    headers: HeaderMap,
}

impl Asked {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::new(&self.uri, self.version),
            origin: &self.origin,
            headers: &self.headers,
        }
    }
}

/// Why an answer cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsignable {
    #[error(transparent)]
    Content(#[from] Ungathered),
    #[error(transparent)]
    Head(#[from] SignError),
}

impl<S> Layer<S> for SignResponses {
    type Service = SignResponsesService<S>;

    fn layer(&self, service: S) -> Self::Service {
        SignResponsesService { signing: self.clone(), service }
    }
}

/// A service whose answers are signed by [`SignResponses`].
#[derive(Clone, Debug)]
pub struct SignResponsesService<S> {
    signing: SignResponses,
    service: S,
}

impl<S, B, C> Service<Request<B>> for SignResponsesService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    C: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<GuardedBody<C>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let asked = self.signing.asked(&head);
        let response = self.service.call(Request::from_parts(head, body));
        let signing = self.signing.clone();
        Box::pin(async move {
            let response = response.await?;
            let asked = match asked {
                Ok(asked) => asked,
                Err(reason) => {
                    tracing::debug!(detail = reason.detail(), "answered unsigned");
                    return Ok(response.map(GuardedBody::unguarded));
                }
            };
            Ok(match signing.sign(&asked, response).await {
                Ok(signed) => signed,
                Err(reason) => signing.replace(&asked, reason),
            })
        })
    }
}
