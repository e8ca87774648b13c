use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign_store::{Gate, KeyStore};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;

use super::{Verifier, demand::Behind};
use crate::{
    BoxError, BoxFuture,
    content::{guarded_body::GuardedBody, verified_body::VerifiedBody},
    telemetry,
};

/// Puts a [`Verifier`] in front of a service. Made by [`Verifier::layer`].
pub struct VerifierLayer<K, G> {
    verifier: Arc<Verifier<K, G>>,
    behind: Behind,
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Makes the layer that verifies requests before the service behind it sees them.
    ///
    /// Put the layer around the finished router. Routes that are added later, or that a nested router serves under a shortened
    /// URI, would bypass it.
    ///
    /// Layers inside and outside may change the type of a body, as the compression and limits of `tower-http` do. Put layers that
    /// change the content of requests, such as decompression, inside: the digest is computed over the content as it arrived.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use tower::ServiceBuilder;
    /// # use countersign::{Origins, Window};
    /// # use countersign_server::Verifier;
    /// # use countersign_store::{MemoryKeys, MemoryNonces};
    /// # use tower::layer::util::Identity as CompressionLayer;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let now = countersign::Timestamp::from_unix(1_763_900_000);
    /// # let (keys, nonces) = (MemoryKeys::default(), MemoryNonces::volatile(Window::default(), now)?);
    /// # let origins = Origins::new(["https://api.example.com".parse()?])?;
    /// let verifier = Verifier::new(origins, keys, nonces);
    /// let layers = ServiceBuilder::new()
    ///     .layer(CompressionLayer::new()) // outside: compresses refusals, too
    ///     .layer(verifier.layer());
    /// let app: Router = Router::new().route("/v1/orders", get(async || "none")).layer(layers);
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer(self) -> VerifierLayer<K, G> {
        telemetry::describe_metrics();
        self.announce();
        let verifier = Arc::new(self);
        verifier.tell_usage();
        VerifierLayer::new(verifier)
    }
}

impl<K, G> VerifierLayer<K, G> {
    pub(crate) const fn new(verifier: Arc<Verifier<K, G>>) -> Self {
        Self { verifier, behind: Behind::Routes }
    }

    /// Returns this verifier's layer for a single declared route.
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
        // Calls the instance that was polled ready, and keeps the clone.
        let waiting = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, waiting);
        let (verifier, behind) = (Arc::clone(&self.verifier), self.behind.clone());
        // In parts, since futures that are handed a request each keep room for it.
        let (mut head, body) = request.into_parts();
        let handled = async move {
            // 1 to 9.
            let (body, marks, mut recording) = match verifier.check(&mut head, body, &behind).await
            {
                Ok(passed) => passed,
                Err(refused) => return Ok(refused),
            };
            // 10. The access token, in a layer around the handler; 11. the handler.
            let response = service.call(Request::from_parts(head, body)).await;
            let response =
                response.inspect_err(|_| recording.respond(StatusCode::INTERNAL_SERVER_ERROR))?;
            Ok(verifier.finish(marks, recording, response).await)
        };
        Box::pin(handled.instrument(telemetry::span()))
    }
}
