use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use countersign_server::{GuardedBody, ServedBody};
use http::{Request, Response};
use http_body_util::Either;
use tokio::sync::watch;
use tower_service::Service;

use crate::{
    auth::answer_body::AnswerBody,
    generation::{Front, Generation},
    problem::mark,
    proxy::{NamedOrigin, proxied_body::ProxiedBody},
};

/// The service of the current configuration. A request that has begun stays with the configuration it began with.
#[derive(Clone, Debug)]
pub(crate) struct CurrentService {
    generation: watch::Receiver<Arc<Generation>>,
}

type Body = Either<GuardedBody<ProxiedBody>, AnswerBody>;

impl CurrentService {
    pub(crate) const fn new(generation: watch::Receiver<Arc<Generation>>) -> Self {
        Self { generation }
    }
}

impl Service<Request<ServedBody>> for CurrentService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The proxy is always ready; it waits for connections with a request in hand.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ServedBody>) -> Self::Future {
        let generation = Arc::clone(&self.generation.borrow());
        let (mut head, body) = request.into_parts();
        match &generation.front {
            Front::Proxy { service, .. } => {
                // Before the verifier, which replaces the address of the peer with that of the client.
                if let Some(origin) = generation.ingress.find_origin(&head) {
                    let origin = NamedOrigin(origin.clone());
                    head.extensions.insert(origin);
                }
                let response = service.clone().call(Request::from_parts(head, body));
                Box::pin(async move {
                    let mut response = response.await?;
                    mark(&mut response);
                    Ok(response.map(Either::Left))
                })
            }
            Front::Auth(auth) => {
                let answer = auth.clone().answer(Request::from_parts(head, body));
                Box::pin(async move { Ok(answer.await.map(Either::Right)) })
            }
        }
    }
}
