use std::{path::Path, time::Duration};

use countersign::ContentDigest;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Body;
use serde::Serialize;

use super::{response::Response, runtime::Runtime};
use crate::{error::Error, form::Form};

/// A request on its way to be signed. Each method does what its twin of [`crate::RequestBuilder`] does.
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    inner: crate::RequestBuilder,
    runtime: Runtime,
}

impl RequestBuilder {
    pub(super) const fn new(inner: crate::RequestBuilder, runtime: Runtime) -> Self {
        Self { inner, runtime }
    }

    fn map(self, change: impl FnOnce(crate::RequestBuilder) -> crate::RequestBuilder) -> Self {
        Self { inner: change(self.inner), ..self }
    }

    /// Adds a header.
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

    /// The content, from memory.
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

    /// A file as content.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        self.map(|inner| inner.file(path))
    }

    /// A form with files as content.
    pub fn multipart(self, form: Form) -> Self {
        self.map(|inner| inner.multipart(form))
    }

    /// A stream as content, and its digest.
    pub fn stream(self, body: impl Into<Body>, digest: &ContentDigest) -> Self {
        self.map(|inner| inner.stream(body, digest))
    }

    /// A bearer token.
    pub fn bearer_auth(self, token: impl std::fmt::Display) -> Self {
        self.map(|inner| inner.bearer_auth(token))
    }

    /// How long each attempt may take.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|inner| inner.timeout(timeout))
    }

    /// How long this request may wait for the server.
    pub fn wait_up_to(self, wait: Duration) -> Self {
        self.map(|inner| inner.wait_up_to(wait))
    }

    /// Signs and sends the request, and waits for the head of its response.
    ///
    /// # Errors
    ///
    /// As [`crate::RequestBuilder::send`]; [`Error::BlockingInAsync`] in a task of an async runtime.
    pub fn send(self) -> Result<Response, Error> {
        let Self { inner, runtime } = self;
        let response = runtime.wait_for(inner.send())?;
        Ok(Response::new(response, runtime))
    }
}
