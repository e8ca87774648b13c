use std::{
    error,
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use countersign::{CONTENT_DIGEST, Component, ContentDigest, Origin, RequestHead, Target};
use http::{Request, Response, Uri, request::Parts, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    attempts::{Answer, Attempts, Next, Repeat, wait},
    client::Client,
    clock::Moment,
    error::Error,
    signing::SignedContent,
    unsigned::{given_digest, refuse_framing},
};

type Failed = Box<dyn error::Error + Send + Sync>;

/// How much content the layer holds in memory, by default.
const MOST: usize = 16 << 20;

/// Signs the requests of a `tower` stack, such as hyper's client. Made by [`Client::layer`].
///
/// Put it innermost, beneath retries and whatever changes a request: each call is signed anew, with its own nonce and time.
/// URIs are absolute, as in `https://api.example.com/v1/orders`.
///
/// The layer holds content in memory for its digest, up to [`SignLayer::content_limit`], unless the request has a
/// `Content-Digest`: then the content is streamed. Content in memory is signed and sent again when the clock was wrong, or
/// when the server asks for more to cover or for a pause, as with [`Client`]. All of this over `https` alone, unless
/// [`Client::insecure_trust_plain_http`] is set, since the layer does not see who responds.
///
/// Outside of tokio, the layer returns a refusal that asks for a pause, since it has no timer there.
///
/// The layer follows no redirects. It verifies no responses: with [`Client::verify_responses`], each call is
/// [`Error::UnverifyingLayer`]. [`Refusal::of_head`](crate::Refusal::of_head) reads the refusal in a response.
#[derive(Clone, Debug)]
pub struct SignLayer {
    client: Client,
    limit: usize,
}

impl Client {
    /// This client as a layer of `tower`, for hyper and other services that send an [`http::Request`].
    pub fn layer(&self) -> SignLayer {
        SignLayer { client: self.clone(), limit: MOST }
    }
}

impl SignLayer {
    /// The largest content that the layer holds in memory, in bytes. Larger content without a `Content-Digest` is
    /// [`Error::StreamingBody`]. Default: 16 MiB.
    pub const fn content_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl<S> Layer<S> for SignLayer {
    type Service = SignService<S>;

    fn layer(&self, inner: S) -> SignService<S> {
        SignService { inner, layer: self.clone() }
    }
}

/// The service of a [`SignLayer`]. Its errors are [`Error`], or those of the inner service, in a box.
#[derive(Clone, Debug)]
pub struct SignService<S> {
    inner: S,
    layer: SignLayer,
}

impl<S, B, R> Service<Request<B>> for SignService<S>
where
    S: Service<Request<SignedBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Failed>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Failed>,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is the one to call.
        let again = self.inner.clone();
        let inner = mem::replace(&mut self.inner, again);
        Box::pin(self.layer.clone().call(inner, request))
    }
}

impl SignLayer {
    async fn call<S, B, R>(self, mut inner: S, request: Request<B>) -> Result<Response<R>, Failed>
    where
        S: Service<Request<SignedBody<B>>, Response = Response<R>>,
        S::Error: Into<Failed>,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Failed>,
    {
        let Self { client, limit } = self;
        if client.verifies_responses() {
            return Err(Error::UnverifyingLayer.into());
        }
        let (mut head, body) = request.into_parts();
        client.add_default_headers(&mut head.headers);
        refuse_framing(&head.headers)?;
        let origin = Origin::of_uri(&head.uri).map_err(Error::Url)?;
        if !origin.agrees_with_host(&head.headers) {
            return Err(Error::HostHeader.into());
        }
        let uri = head.uri.clone();
        let mut content = Content::read(&head, body, limit).await?;
        let mut attempts = Attempts::new(client.wait);
        let authenticated = uri.scheme() == Some(&Scheme::HTTPS) || client.trusts_plain_http();
        let mut last = None;
        client.look_after_key();
        loop {
            let key = client.publishable_key();
            let signing =
                sign(&client, attempts.more(), head.clone(), &origin, &uri, content.signed()).await;
            let (attempt, signed) = match (signing, last) {
                (Ok(attempt), _) => attempt,
                // The request lacks a component that the server asks for: return the refusal.
                (Err(Error::Sign(_)), Some(refusal)) => return Ok(refusal),
                (Err(error), _) => return Err(error.into()),
            };
            let Some(body) = content.next() else { return Err(Error::StreamingBody.into()) };
            let response = inner.call(Request::from_parts(attempt, body)).await;
            let response = response.map_err(Into::into)?;
            if !authenticated {
                return Ok(response);
            }
            let headers = response.headers();
            let repeat = Repeat::Harmless;
            let answer = Answer { headers, responded_at: None, signed, origin: &origin, repeat };
            let mut next = attempts.after(answer, &client.clock, &client.signing());
            if next == Next::Return && client.has_another_key(&key, headers, repeat).await {
                next = Next::SignAgain { pause: Duration::ZERO };
            }
            match next {
                Next::Return => return Ok(response),
                Next::SignAgain { .. } if !content.can_repeat() => return Ok(response),
                Next::SignAgain { pause } if !wait(pause).await => return Ok(response),
                Next::SignAgain { .. } => {}
            }
            last = Some(response);
            poll_fn(|context| inner.poll_ready(context)).await.map_err(Into::into)?;
        }
    }
}

/// Signs one attempt.
async fn sign(
    client: &Client,
    more: &[Component<'static>],
    mut head: Parts,
    origin: &Origin,
    uri: &Uri,
    content: SignedContent<'_>,
) -> Result<(Parts, Moment), Error> {
    let signed = client.new_use(origin)?;
    let covered = RequestHead {
        method: &head.method,
        target: Target::origin_form(uri),
        origin,
        headers: &head.headers,
    };
    let fields = client.signing().sign_anywhere(more, &covered, content, &signed).await;
    fields?.apply(&mut head.headers);
    Ok((head, signed.moment))
}

/// The content of a request, for each of its attempts.
enum Content<B> {
    Memory(Bytes),
    Stream { digest: ContentDigest, body: Option<B> },
}

impl<B> Content<B> {
    fn signed(&self) -> SignedContent<'_> {
        match self {
            Self::Memory(bytes) => SignedContent::Bytes(bytes.as_ref()),
            Self::Stream { digest, .. } => SignedContent::Digested(digest),
        }
    }

    const fn can_repeat(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// The content of the next attempt. `None` if it was a stream, which is sent.
    fn next(&mut self) -> Option<SignedBody<B>> {
        let inner = match self {
            Self::Memory(bytes) => Inner::Memory(bytes.clone()),
            Self::Stream { body, .. } => Inner::Stream(body.take()?),
        };
        Some(SignedBody { inner })
    }
}

impl<B> Content<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failed>,
{
    /// Reads content into memory, unless its digest is given.
    async fn read(head: &Parts, mut body: B, limit: usize) -> Result<Self, Error> {
        if !body.is_end_stream() && head.headers.contains_key(CONTENT_DIGEST) {
            return Ok(Self::Stream { digest: given_digest(&head.headers)?, body: Some(body) });
        }
        let mut content = BytesMut::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| Error::Content(error.into()))?;
            let piece = frame.into_data().map_err(|_| Error::Trailers)?;
            if content.len().saturating_add(piece.len()) > limit {
                return Err(Error::StreamingBody);
            }
            content.extend_from_slice(&piece);
        }
        Ok(Self::Memory(content.freeze()))
    }
}

/// The content that a [`SignLayer`] hands on: in memory, or the stream that it was given.
#[derive(Debug)]
pub struct SignedBody<B> {
    inner: Inner<B>,
}

#[derive(Debug)]
enum Inner<B> {
    Memory(Bytes),
    Stream(B),
}

impl<B: Body<Data = Bytes> + Unpin> Body for SignedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.inner {
            Inner::Memory(bytes) => {
                let bytes = mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Inner::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Memory(bytes) => bytes.is_empty(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Memory(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Inner::Stream(body) => body.size_hint(),
        }
    }
}
