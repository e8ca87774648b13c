use std::{future::poll_fn, pin::Pin, sync::Arc};

use countersign::{
    Origin, RequestHead, ResponseHead, ResponsePolicy, ServerKeys, Target, Timestamp,
    UnverifiedResponse,
};
use http::{HeaderMap, Method, Uri};
use http_body::Body as _;
use reqwest::{Request, Response};

use crate::{error::Error, reread::take_apart};

/// The largest content of a response that is held in memory, by default.
pub(crate) const MOST: usize = 16 << 20;

/// Verifies that a response is the server's own, to the attempt at hand.
#[derive(Clone, Debug)]
pub(crate) struct ResponseVerifier {
    keys: Arc<ServerKeys>,
    policy: Arc<ResponsePolicy>,
}

impl ResponseVerifier {
    /// A verifier for a server with these keys, and for requests signed under this tag.
    pub(crate) fn new(keys: ServerKeys, request_tag: &str) -> Self {
        let policy = ResponsePolicy::default();
        // A signer's tag is valid.
        let policy = policy.clone().request_tag(request_tag).unwrap_or(policy);
        Self { keys: Arc::new(keys), policy: Arc::new(policy) }
    }

    /// Returns a response whose content is complete and signed, and when it was signed.
    pub(crate) async fn verify(
        &self,
        sent: &Sent,
        response: Response,
        most: usize,
        now: Timestamp,
    ) -> Result<(Response, Timestamp), Error> {
        let (head, mut body) = take_apart(response);
        let status = head.status;
        let refused = |reason| Error::Response { status, reason };
        let response_head = ResponseHead { status, headers: &head.headers };
        let unverified = UnverifiedResponse::parse(response_head, sent.head(), &self.policy, now);
        let authentic = unverified.and_then(|unverified| unverified.verify(&self.keys));
        let mut check = authentic.map_err(refused)?.read();
        let mut content = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            // Trailers are not covered, so no caller sees them.
            let Ok(piece) = frame?.into_data() else { continue };
            if content.len().saturating_add(piece.len()) > most {
                return Err(Error::ResponseTooLarge { most });
            }
            check.update(&piece);
            content.extend_from_slice(&piece);
        }
        let intact = check.finish().map_err(refused)?;
        Ok((http::Response::from_parts(head, content).into(), intact.created()))
    }
}

/// The attempt as it was sent. The response is bound to it.
pub(crate) struct Sent {
    method: Method,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
}

impl Sent {
    pub(crate) fn new(request: &Request, uri: Uri, origin: Origin) -> Self {
        let (method, headers) = (request.method().clone(), request.headers().clone());
        Self { method, uri, origin, headers }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers: &self.headers,
        }
    }
}
