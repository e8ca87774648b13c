use std::{path::Path, time::Duration};

use countersign::{CONTENT_DIGEST, ContentDigest};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use reqwest::{Body, Response};
use serde::Serialize;

use crate::{client::Client, error::Error, form::Form, outgoing::Outgoing, pieces::Piece};

/// A request on its way to be signed, built as with reqwest.
///
/// ```no_run
/// use countersign_client::Client;
///
/// # async fn send(client: Client) -> Result<(), countersign_client::Error> {
/// let response = client
///     .put("https://api.example.com/v1/files/book.pdf")
///     .header("idempotency-key", "6f1c9d0a")
///     .file("book.pdf") // read twice, never held in memory
///     .send()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    client: Client,
    inner: reqwest::RequestBuilder,
    wait: Duration,
    /// Content that is not in memory alone.
    pieces: Result<Vec<Piece>, Error>,
}

impl RequestBuilder {
    pub(crate) const fn new(
        client: Client,
        inner: reqwest::RequestBuilder,
        wait: Duration,
    ) -> Self {
        Self { client, inner, wait, pieces: Ok(Vec::new()) }
    }

    fn map(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { inner: change(self.inner), ..self }
    }

    /// Adds a header. An invalid header is an error when the request is sent.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        <HeaderName as TryFrom<N>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.map(|inner| inner.header(name, value))
    }

    /// Adds headers, and replaces headers of the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.map(|inner| inner.headers(headers))
    }

    /// Adds to the query.
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        self.map(|inner| inner.query(query))
    }

    /// The content, from memory. A stream needs a `Content-Digest`: see [`RequestBuilder::stream`].
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.only(|inner| inner.body(body))
    }

    /// JSON as content.
    pub fn json<T: Serialize + ?Sized>(self, json: &T) -> Self {
        self.only(|inner| inner.json(json))
    }

    /// A form as content, `application/x-www-form-urlencoded`.
    pub fn form<T: Serialize + ?Sized>(self, form: &T) -> Self {
        self.only(|inner| inner.form(form))
    }

    /// A file as content. The client reads the file twice: for its digest, and while it is sent. So its content is never in
    /// memory at once. A file that changes meanwhile is [`Error::FileChanged`]. A pipe or a device cannot be read twice, and is
    /// [`Error::File`]: read it into memory, and give that to [`RequestBuilder::body`].
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        Self { pieces: Ok(vec![Piece::File(path.as_ref().to_owned())]), ..self }
    }

    /// A form with files as content, `multipart/form-data`. The client reads files as with [`RequestBuilder::file`].
    pub fn multipart(self, form: Form) -> Self {
        match form.into_pieces() {
            Ok((content_type, pieces)) => {
                let named = self.map(|inner| inner.header(CONTENT_TYPE, content_type));
                Self { pieces: Ok(pieces), ..named }
            }
            Err(error) => Self { pieces: Err(error), ..self },
        }
    }

    /// A stream as content, and its digest. Make the digest with [`RunningDigest`](countersign::RunningDigest) when you
    /// write the content, or take it from where the content is stored.
    ///
    /// A stream is sent once: when the server refuses the request, the client returns the refusal.
    pub fn stream(self, body: impl Into<Body>, digest: &ContentDigest) -> Self {
        let digest = digest.to_header();
        self.only(|inner| match digest {
            Ok(digest) => inner.body(body).header(CONTENT_DIGEST, digest),
            // Never: base64 has only header characters. Without a digest the request is not sent.
            Err(_) => inner.body(body),
        })
    }

    /// Sets content that replaces files.
    fn only(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { pieces: Ok(Vec::new()), ..self.map(change) }
    }

    /// A bearer token. The signature covers it.
    pub fn bearer_auth(self, token: impl std::fmt::Display) -> Self {
        self.map(|inner| inner.bearer_auth(token))
    }

    /// How long each attempt may take, until all of its response is there. A second signature and a redirect are attempts of
    /// their own.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|inner| inner.timeout(timeout))
    }

    /// How long this request may wait for the server, in place of [`Client::wait_up_to`].
    pub fn wait_up_to(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Signs and sends the request.
    ///
    /// On `signature-stale` the client follows the clock of the origin once, up to 15 minutes, and signs again: the
    /// server did not execute the request. It does not send a request again that was on its way for as long as the clock
    /// is off: an attacker may have delivered it twice, and the first may have been executed. On `signature-policy` or
    /// `signature-required` the client once covers more. It follows a redirect within the origin, if the request is a
    /// read. If the server itself refuses the request for a while, the client waits and signs anew
    /// ([`Client::wait_up_to`]).
    ///
    /// All of this only if the response is the server's own: over TLS, from this machine, or verified
    /// ([`Client::verify_responses`]). Any other is given to the caller as it came. A verified refusal of a write over plain
    /// HTTP is given to the caller as well: somebody on the way could have delivered the write before, and had it executed.
    ///
    /// # Errors
    ///
    /// [`Error`]. A request that cannot be signed is not sent.
    pub async fn send(self) -> Result<Response, Error> {
        let Self { client, inner, wait, pieces } = self;
        let (request, pieces) = (inner.build()?, pieces?);
        let outgoing = match pieces.is_empty() {
            true => Outgoing::new(request),
            false => Outgoing::of_pieces(request, pieces).await?,
        };
        client.execute(outgoing, wait).await
    }

    /// Signs the request for another sender. Send it once, and soon. A file is read here, which blocks.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::KeyElsewhere`] with a remote key.
    pub fn sign(self) -> Result<reqwest::Request, Error> {
        let (request, pieces) = (self.inner.build()?, self.pieces?);
        let request = match pieces.is_empty() {
            true => request,
            false => Outgoing::only_attempt(request, pieces)?,
        };
        self.client.attempt(request)
    }
}
