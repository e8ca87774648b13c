pub(crate) mod key_directory;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use countersign::{
    Content, Origin, Rejection, RequestHead, ResponseHead, ResponseSigner, SIGNATURE,
    SIGNATURE_INPUT, SignError, Target, Timestamp,
};
use countersign_store::ClientAddress;
use http::{HeaderMap, Method, Request, Response, Uri, Version, request::Parts, response};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError, BoxFuture,
    clock::Clock,
    content::{
        ContentLimit, gathered::Gathered, guarded_body::GuardedBody, verified_body::ContentError,
    },
    ingress::{Ingress, original_uri},
    refusal::{
        Circumstances,
        reason::Reason,
        respond,
        unsignable::{Ungathered, Unsignable},
    },
    response_length::fix_content_length,
    telemetry,
};

/// Signs every response, bound to its request, so that a client can verify its origin and its request.
///
/// Put the layer outside of the verifier and of all other responders, so that refusals are signed, too. Give it the same
/// [`Ingress`] as the verifier, so that both see the same host in a request.
///
/// The layer takes the content of a response into memory to compute its `Content-Digest`. It replaces a response by a refusal
/// with 500, and logs why, if the response is larger than the limit, does not end in time, breaks off, has trailers, is signed
/// already or repeats a covered field. The handler has run by then. Put routes that stream without an end into
/// another router beside it.
///
/// These responses are sent unsigned:
///
/// - responses to requests for an unknown origin or with a refused target, since a signature could not be bound
///   to the request;
/// - the refusals of [`serve`](crate::serve) itself (heads that are too large, upgrades);
/// - the HTTP library's refusals of unreadable requests.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::{KEY_DIRECTORY_PATH, Origins, PrivateKey, ResponseSigner};
/// use countersign_server::{Ingress, SignResponses, Verifier};
/// # use countersign::Window;
/// # use countersign_store::{MemoryKeys, MemoryNonces};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let now = countersign::Timestamp::from_unix(1_763_900_000);
/// # let (keys, nonces) = (MemoryKeys::default(), MemoryNonces::volatile(Window::default(), now)?);
/// let ingress = Ingress::from(Origins::new(["https://api.example.com".parse()?])?);
/// let verifier = Verifier::new(ingress.clone(), keys, nonces);
/// let key = PrivateKey::ed25519(&[7; 32]); // from a file that nobody else reads
/// let signing = SignResponses::new(ingress, ResponseSigner::new(key)?);
/// let app: Router = Router::new()
///     .route("/v1/orders", get(async || "none"))
///     .layer(verifier.layer())
///     .route_service(KEY_DIRECTORY_PATH, signing.directory([])?) // behind no verifier
///     .layer(signing);
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

impl SignResponses {
    /// Signs with this signer. The [`Ingress`] must be the verifier's.
    pub fn new(ingress: impl Into<Ingress>, signer: ResponseSigner) -> Self {
        Self {
            ingress: Arc::new(ingress.into()),
            signer: Arc::new(signer),
            clock: Clock::default(),
            limit: ContentLimit { bytes: 1 << 20, time: Duration::from_secs(30) },
        }
    }

    /// Sets the clock. Default: a [`SystemClock`](countersign_store::SystemClock).
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(clock);
        self
    }

    /// Limits the content of a response, in bytes. It is in memory while it is signed. Default: 1 MiB.
    pub fn content_limit(mut self, bytes: usize) -> Self {
        self.limit.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self
    }

    /// Limits the time until the content of a response is complete. Default: 30 s.
    pub const fn content_timeout(mut self, time: Duration) -> Self {
        self.limit.time = time;
        self
    }

    pub(crate) fn signer(&self) -> &ResponseSigner {
        &self.signer
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the parts of a request that its response is bound to.
    pub(crate) fn bind(&self, head: &Parts) -> Result<BoundRequest, Reason> {
        let uri = original_uri(head);
        Target::new(uri, head.version).check().map_err(Rejection::from)?;
        let peer = head.extensions.get::<ClientAddress>().map(|address| address.ip());
        let origin = self.ingress.origin(peer, &head.uri, &head.headers)?.clone();
        let mut headers = HeaderMap::new();
        for name in [SIGNATURE_INPUT, SIGNATURE] {
            for value in head.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let (method, uri, version) = (head.method.clone(), uri.clone(), head.version);
        Ok(BoundRequest { method, uri, version, origin, headers })
    }

    async fn sign<C>(
        &self,
        asked: &BoundRequest,
        response: Response<C>,
    ) -> Result<Response<GuardedBody<C>>, Reason>
    where
        C: Body<Data = Bytes, Error: Into<BoxError>> + Send,
    {
        let (mut head, body) = response.into_parts();
        let unsigned = ResponseHead { status: head.status, headers: &head.headers };
        let (body, content) = match unsigned.may_have_content(&asked.method) {
            true => {
                let content = gather(self.limit, std::pin::pin!(body)).await?;
                (GuardedBody::from(content.clone()), content)
            }
            // The body, if any, belongs to the response to another method.
            false => {
                fix_content_length(&body, &asked.method, head.status, &mut head.headers);
                (GuardedBody::default(), Bytes::new())
            }
        };
        let head = self.sign_head(asked, head, &content).map_err(Unsignable::from)?;
        Ok(Response::from_parts(head, body))
    }

    fn sign_head(
        &self,
        asked: &BoundRequest,
        mut head: response::Parts,
        content: &[u8],
    ) -> Result<response::Parts, SignError> {
        let unsigned = ResponseHead { status: head.status, headers: &head.headers };
        let signed = self.signer.sign(&unsigned, &asked.head(), content, self.now())?;
        signed.apply(&mut head.headers);
        Ok(head)
    }

    /// Makes the refusal that replaces an unsignable response.
    fn replace<C: From<Bytes>>(&self, asked: &BoundRequest, reason: Reason) -> Response<C> {
        if let Reason::Unsignable(_) = reason {
            telemetry::count_unsignable();
        }
        let unknown = Circumstances::unknown(&asked.method, asked.version);
        let circumstances = Circumstances { content: Content::Absent, ..unknown };
        let replaced: Response<Bytes> = respond(&reason.into(), &circumstances);
        let (head, content) = replaced.into_parts();
        // Every part of this response can be signed.
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

/// The parts of a request, as it was received, that its response is bound to.
pub(crate) struct BoundRequest {
    method: Method,
    uri: Uri,
    version: Version,
    origin: Origin,
    /// The signature fields.
    headers: HeaderMap,
}

impl BoundRequest {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::new(&self.uri, self.version),
            origin: &self.origin,
            headers: &self.headers,
        }
    }
}

/// Why the content of a response cannot be signed.
enum Missing {
    Ungathered(Ungathered),
    /// The content of the request is not the signed content, and the response depends on it.
    Refused(Reason),
}

impl From<Ungathered> for Missing {
    fn from(ungathered: Ungathered) -> Self {
        Self::Ungathered(ungathered)
    }
}

impl From<Missing> for Reason {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Ungathered(ungathered) => Unsignable::from(ungathered).into(),
            Missing::Refused(reason) => reason,
        }
    }
}

impl Missing {
    fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let refused = causes.find_map(|cause| cause.downcast_ref::<ContentError>());
        refused.map_or(Self::Ungathered(Ungathered::Broken), |refused| {
            Self::Refused(refused.reason().clone())
        })
    }
}

/// Takes the content of a response into memory.
async fn gather<B>(limit: ContentLimit, body: B) -> Result<Bytes, Missing>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let gathered = tokio::time::timeout(limit.time, gather_to_end(limit.bytes, body)).await;
    gathered.unwrap_or(Err(Ungathered::Timeout.into()))
}

async fn gather_to_end<B>(limit: u64, mut body: B) -> Result<Bytes, Missing>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let too_large = Ungathered::TooLarge { limit };
    if body.size_hint().lower() > limit {
        return Err(too_large.into());
    }
    let mut content = Gathered::default();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| Missing::broken(&*error.into()))?.into_data() {
            Ok(mut data) => content.add(data.copy_to_bytes(data.remaining())),
            Err(frame) if frame.trailers_ref().is_none_or(HeaderMap::is_empty) => {}
            Err(_) => return Err(Ungathered::Trailers.into()),
        }
        if content.len() > limit {
            return Err(too_large.into());
        }
    }
    Ok(content.into_bytes())
}

impl<S> Layer<S> for SignResponses {
    type Service = SignResponsesService<S>;

    fn layer(&self, service: S) -> Self::Service {
        SignResponsesService { signing: self.clone(), service }
    }
}

/// A service whose responses are signed by [`SignResponses`].
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
        let asked = self.signing.bind(&head);
        let response = self.service.call(Request::from_parts(head, body));
        let signing = self.signing.clone();
        Box::pin(async move {
            let response = response.await?;
            let asked = match asked {
                Ok(asked) => asked,
                Err(reason) => {
                    tracing::debug!(detail = reason.detail(), "a response is sent unsigned");
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
