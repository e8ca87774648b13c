use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::runtime::Runtime;
use crate::{error::Error, refusal::Refusal};

/// A response. Reading its content blocks until all of it is there.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    runtime: Runtime,
}

impl Response {
    pub(super) const fn new(inner: reqwest::Response, runtime: Runtime) -> Self {
        Self { inner, runtime }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The URL of the request.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Gives the response back as it is, unless it is a refusal or an error of the service, by its status.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Http`] for another status from 400 on; [`Error::BlockingInAsync`].
    pub fn check(self) -> Result<Self, Error> {
        let Self { inner, runtime } = self;
        let checked = async { Refusal::check(inner).await.map_err(Error::from) };
        let inner = runtime.wait_for(checked)?.error_for_status()?;
        Ok(Self { inner, runtime })
    }

    /// The content as text.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if it breaks off; [`Error::BlockingInAsync`].
    pub fn text(self) -> Result<String, Error> {
        self.runtime.wait_for(self.inner.text())
    }

    /// The content as bytes.
    ///
    /// # Errors
    ///
    /// As [`Response::text`].
    pub fn bytes(self) -> Result<Bytes, Error> {
        self.runtime.wait_for(self.inner.bytes())
    }

    /// The content as the value that its JSON holds.
    ///
    /// # Errors
    ///
    /// As [`Response::text`]; [`Error::Http`] if it is other JSON, or none.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.runtime.wait_for(self.inner.json())
    }
}
