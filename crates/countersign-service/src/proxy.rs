mod failure;
mod forwarded;
mod hop_by_hop;
mod hop_signer;
pub(crate) mod identity;
mod progress;
pub(crate) mod proxied_body;
mod sent_body;
pub(crate) mod spelling;
mod upstream;
mod upstream_connection;
mod upstream_tls;
mod upstreams;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use countersign::Origin;
use countersign_server::{Caller, Proof, ServedBody, VerifiedBody};
use countersign_store::ClientAddress;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use http_body::Body as _;
use hyper::body::Incoming;
use tower_service::Service;

use self::{
    failure::Failure,
    forwarded::set_forwarded,
    hop_by_hop::remove_hop_by_hop,
    hop_signer::HopSigner,
    identity::set_identity,
    progress::Progress,
    proxied_body::ProxiedBody,
    sent_body::SentBody,
    upstream::{Lease, NotSent, Upstream},
    upstream_tls::UpstreamTls,
    upstreams::Upstreams,
};
use crate::{
    config::{
        fault::ConfigFault, file::UpstreamHost, upstream_address::UpstreamAddress,
        upstream_settings::UpstreamSettings,
    },
    error::ServiceError,
};

/// How often a request is sent again, if no upstream has seen any part of it.
const ATTEMPTS: usize = 3;

/// The origin of a request, found before the verifier takes it.
#[derive(Clone, Debug)]
pub(crate) struct NamedOrigin(pub(crate) Origin);

/// Forwards verified requests to the servers behind it, and hands their responses on: the service to put behind a
/// [`Verifier`](countersign_server::Verifier). [`run`](crate::run) does so.
///
/// The target is sent as it was received. Content streams in both directions. docs/operate/serve.md describes the requests to
/// the servers.
#[derive(Clone, Debug)]
pub struct ReverseProxy(Arc<Forwarding>);

#[derive(Debug)]
struct Forwarding {
    upstreams: Upstreams,
    host: UpstreamHost,
    idle_timeout: Duration,
    signer: Option<HopSigner>,
}

impl ReverseProxy {
    /// Forwards to these servers, with the default settings and without health checks. Their `Host` is that of the request.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Config`] if a server has `https`, and the system has no roots for its certificate.
    pub fn to(servers: impl IntoIterator<Item = UpstreamAddress>) -> Result<Self, ServiceError> {
        Ok(Self::new(&UpstreamSettings::of(servers.into_iter().collect()))?)
    }

    /// Reads the files of the settings, and begins the health checks of the upstreams. They end with the last clone.
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, ConfigFault> {
        let signer = settings.sign.as_ref().map(HopSigner::read).transpose()?;
        let tls = UpstreamTls::read(settings)?;
        Ok(Self(Arc::new(Forwarding {
            upstreams: Upstreams::new(settings, tls.as_ref()),
            host: settings.host,
            idle_timeout: settings.idle_timeout.get(),
            signer,
        })))
    }

    /// Reads the files of the settings.
    pub(crate) fn check(settings: &UpstreamSettings) -> Result<(), ConfigFault> {
        settings.sign.as_ref().map(HopSigner::read).transpose()?;
        UpstreamTls::read(settings)?;
        Ok(())
    }

    /// Whether an upstream is healthy.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.upstreams.are_healthy()
    }
}

impl Service<Request<VerifiedBody<ServedBody>>> for ReverseProxy {
    type Response = Response<ProxiedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<VerifiedBody<ServedBody>>) -> Self::Future {
        let forwarding = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(forwarding.forward(request).await.unwrap_or_else(|failure| {
                metrics::counter!("countersign_upstream_failures_total", "code" => failure.code().as_str())
                    .increment(1);
                failure.to_problem().to_response().map(ProxiedBody::own)
            }))
        })
    }
}

impl Forwarding {
    async fn forward(
        &self,
        request: Request<VerifiedBody<ServedBody>>,
    ) -> Result<Response<ProxiedBody>, Failure> {
        let (head, body) = request.into_parts();
        refuse_expectations(&head.headers)?;
        let caller = Caller::known(&head.extensions);
        let is_signed = caller.as_ref().is_some_and(|caller| caller.proof() == Proof::Signed);
        let progress = Arc::new(Progress::begin());
        let body = SentBody::new(body, Arc::clone(&progress), is_signed);
        let (request, origin) = self.rewrite(head, caller.as_ref(), body)?;
        let method = request.method().clone();
        let (response, lease) = self.send(request, origin.as_ref(), &progress).await?;
        if response.status().is_client_error() || response.status().is_server_error() {
            progress.abandon();
        }
        self.hand_on(&method, response, lease, progress)
    }

    /// Makes the request for an upstream.
    fn rewrite(
        &self,
        head: Parts,
        caller: Option<&Caller>,
        body: SentBody,
    ) -> Result<(Request<SentBody>, Option<Origin>), Failure> {
        let Parts { method, uri, version, mut headers, mut extensions, .. } = head;
        let origin = extensions.remove::<NamedOrigin>().map(|NamedOrigin(origin)| origin);
        let client = extensions.get::<ClientAddress>().copied();
        let had_length = headers.remove(CONTENT_LENGTH).is_some();
        remove_hop_by_hop(&mut headers);
        headers.remove(EXPECT);
        set_forwarded(&mut headers, client, origin.as_ref(), version);
        set_identity(&mut headers, caller);
        if body.is_end_stream() {
            if had_length && takes_content(&method) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        } else if let Some(length) = body.size_hint().exact() {
            headers.insert(CONTENT_LENGTH, length.into());
        } else {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let target = match uri.into_parts().path_and_query {
            Some(target) => Uri::from(target),
            None => Uri::from_static("/"),
        };
        if let Some(origin) = origin.as_ref().filter(|_| self.host == UpstreamHost::Origin) {
            let host = HeaderValue::try_from(origin.authority());
            headers.insert(HOST, host.map_err(|_| Failure::Broken)?);
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok((request, origin))
    }

    /// Sends the request to an upstream. Sends it again only if no upstream can have seen any of it, or if it is a read and the old
    /// connection broke without a response: its upstream may have closed it at the same moment (RFC 9112 §9.3.1).
    async fn send(
        &self,
        mut request: Request<SentBody>,
        origin: Option<&Origin>,
        progress: &Arc<Progress>,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        let mut lease = self.upstreams.lease().await?;
        for _ in 0..ATTEMPTS {
            progress.moved();
            self.address(&mut request, origin, lease.upstream())?;
            let repeatable = if lease.is_reused() { Repeatable::of(&request) } else { None };
            match lease.send(request, progress).await {
                Ok(response) => return Ok((response, lease)),
                Err(NotSent::Stalled) => return Err(Failure::Timeout),
                Err(NotSent::Unseen(unseen)) => request = *unseen,
                Err(NotSent::Broken(error)) => match repeatable {
                    Some(copy) => request = copy.into_request(),
                    None => {
                        if !progress.is_failed() {
                            let upstream = lease.upstream().address();
                            tracing::debug!(%error, %upstream, "an upstream broke off");
                        }
                        return Err(Failure::Broken);
                    }
                },
            }
            let upstream = Arc::clone(lease.upstream());
            drop(lease);
            lease = upstream.lease_new().await?;
        }
        Err(Failure::Broken)
    }

    /// Writes the fields that depend on the upstream: `Host`, and the signature of this proxy.
    fn address(
        &self,
        request: &mut Request<SentBody>,
        origin: Option<&Origin>,
        upstream: &Upstream,
    ) -> Result<(), Failure> {
        if self.host == UpstreamHost::Upstream {
            let host = HeaderValue::try_from(upstream.address().authority());
            request.headers_mut().insert(HOST, host.map_err(|_| Failure::Broken)?);
        }
        let Some(signer) = &self.signer else { return Ok(()) };
        let origin = match self.host {
            UpstreamHost::Origin => origin.cloned(),
            UpstreamHost::Upstream => upstream.address().to_string().parse().ok(),
        };
        let Some(origin) = origin else { return Ok(()) };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let signed = signer.sign(&method, &uri, &origin, request.headers_mut());
        signed.map_err(|error| {
            tracing::error!(error = &*error, "a request to an upstream could not be signed");
            Failure::Broken
        })
    }

    /// Makes the response for the client.
    fn hand_on(
        &self,
        method: &Method,
        response: Response<Incoming>,
        lease: Lease,
        progress: Arc<Progress>,
    ) -> Result<Response<ProxiedBody>, Failure> {
        let (mut head, body) = response.into_parts();
        // An upgrade was never asked for. Two framings, or two lengths, are read in two ways (RFC 9112 §6.3).
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            || (head.headers.contains_key(TRANSFER_ENCODING)
                && head.headers.contains_key(CONTENT_LENGTH))
        {
            return Err(Failure::Broken);
        }
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
        if let Some(first) = lengths.next() {
            let is_number = first.as_bytes().iter().all(u8::is_ascii_digit);
            let mut others = lengths.peekable();
            let is_repeated = others.peek().is_some();
            if !is_number || others.any(|other| other != first) {
                return Err(Failure::Broken);
            }
            if is_repeated {
                let first = first.clone();
                head.headers.insert(CONTENT_LENGTH, first);
            }
        }
        remove_hop_by_hop(&mut head.headers);
        let without_content = *method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !without_content && body.size_hint().exact().is_none() {
            head.headers.remove(CONTENT_LENGTH);
        }
        head.version = Version::HTTP_11;
        head.extensions.clear();
        let body = ProxiedBody::from_upstream(body, lease, progress, self.idle_timeout);
        Ok(Response::from_parts(head, body))
    }
}

/// A copy of a read without content.
struct Repeatable {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Repeatable {
    fn of(request: &Request<SentBody>) -> Option<Self> {
        let is_read = request.method().is_safe() && request.body().is_end_stream();
        is_read.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn into_request(self) -> Request<SentBody> {
        let mut request = Request::new(SentBody::empty());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Whether a request with this method usually has content, so that a length of zero has a meaning.
fn takes_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Refuses every expectation but `100-continue`, which was met when the content was asked for.
fn refuse_expectations(headers: &HeaderMap) -> Result<(), Failure> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(EXPECT).iter().all(known) {
        true => Ok(()),
        false => Err(Failure::Expectation),
    }
}
