use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    BadServerKeys, KEY_DIRECTORY_TYPE, ResponseHead, ServerKeys, Unserved, VerifyingKey,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use tower_service::Service;

use super::SignResponses;
use crate::{
    content::length,
    refusal::{Circumstances, reason::Reason, respond},
};

/// The lifetime of the proof that a key in a directory is this server's.
const LIFETIME: Duration = Duration::from_secs(600);

/// The keys that sign a server's responses, as a service at [`KEY_DIRECTORY_PATH`](countersign::KEY_DIRECTORY_PATH).
/// Made by [`SignResponses::directory`].
///
/// Clients read it without a credential: put it beside the verified routes, and inside of [`SignResponses`]. Then a client that knows
/// one of the keys can verify the response with the others; a client that knows no key has only TLS to rely on.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    signing: SignResponses,
    keys: Bytes,
}

impl SignResponses {
    /// The directory of this signer's key, and of `others`: the next key, and the previous key while clients may still have its
    /// responses.
    ///
    /// # Errors
    ///
    /// [`BadServerKeys::Secret`].
    pub fn directory(
        &self,
        others: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<KeyDirectory, BadServerKeys> {
        let keys = std::iter::once(self.signer().verifying_key()).chain(others);
        Ok(KeyDirectory::new(self.clone(), &ServerKeys::new(keys)?))
    }
}

impl KeyDirectory {
    pub(crate) fn new(signing: SignResponses, keys: &ServerKeys) -> Self {
        Self { signing, keys: keys.to_jwks().into() }
    }

    fn show(&self, head: &Parts) -> Result<Response<Full<Bytes>>, Reason> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Unserved::Method.into());
        }
        let asked = self.signing.bind(head)?;
        let content = Full::from(self.keys.clone());
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        length::settle(&content, &head.method, StatusCode::OK, headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(KEY_DIRECTORY_TYPE));
        // Not by a cache that others use as well: the answer to a signed request is bound to that one.
        let cached = HeaderValue::from_static("private, max-age=300");
        headers.insert(header::CACHE_CONTROL, cached);
        let signed = {
            let shown = ResponseHead { status: StatusCode::OK, headers };
            let now = self.signing.now();
            self.signing.signer().sign_directory(&shown, &asked.head(), now, LIFETIME)
        };
        match signed {
            Ok(fields) => fields.apply(headers),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a key directory is sent unsigned"
                );
            }
        }
        if head.method == Method::GET {
            *response.body_mut() = content;
        }
        Ok(response)
    }
}

impl<B> Service<Request<B>> for KeyDirectory {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, _) = request.into_parts();
        ready(Ok(self.show(&head).unwrap_or_else(|reason| {
            let circumstances = Circumstances::unknown(&head.method, head.version);
            let mut refused: Response<Full<Bytes>> = respond(&reason.into(), &circumstances);
            if refused.headers().contains_key(header::ALLOW) {
                refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            refused
        })))
    }
}
