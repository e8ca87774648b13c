use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Response};
use serde::Serialize;

use crate::{client::Client, error::Error};

/// A request on its way to be signed, built as with reqwest.
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    client: Client,
    inner: reqwest::RequestBuilder,
}

impl RequestBuilder {
    pub(crate) const fn new(client: Client, inner: reqwest::RequestBuilder) -> Self {
        Self { client, inner }
    }

    fn map(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { client: self.client, inner: change(self.inner) }
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

    /// The content, from memory. A stream cannot be signed.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.map(|inner| inner.body(body))
    }

    /// JSON as content.
    pub fn json<T: Serialize + ?Sized>(self, json: &T) -> Self {
        self.map(|inner| inner.json(json))
    }

    /// A form as content.
    pub fn form<T: Serialize + ?Sized>(self, form: &T) -> Self {
        self.map(|inner| inner.form(form))
    }

    /// A bearer token. The signature covers it.
    pub fn bearer_auth(self, token: impl std::fmt::Display) -> Self {
        self.map(|inner| inner.bearer_auth(token))
    }

    /// How long each attempt may take, until all of its response is there. A second signature and a redirect are attempts of
    /// their own: there are at most eight.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|inner| inner.timeout(timeout))
    }

    /// Signs and sends the request.
    ///
    /// On `signature-stale` the client follows the clock of the origin once, up to 15 minutes, and signs again: the
    /// server did not execute the request. It does not send a request again that was on its way for as long as the clock
    /// is off: an attacker may have delivered it twice, and the first may have been executed. On `signature-policy` or
    /// `signature-required` the client once covers more. It follows a redirect within the origin, if the request is a
    /// read.
    ///
    /// All of this only if the response is the server's own: over TLS, from this machine, or verified
    /// ([`Client::verify_responses`]). Any other is given to the caller as it came.
    ///
    /// # Errors
    ///
    /// [`Error`]. A request that cannot be signed is not sent.
    pub async fn send(self) -> Result<Response, Error> {
        self.client.execute(self.inner.build()?).await
    }

    /// Signs the request for another sender. Send it once, and soon.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn sign(self) -> Result<reqwest::Request, Error> {
        Ok(self.client.attempt(self.inner.build()?)?.request)
    }
}
