//! A client for programs without an async runtime.
//!
//! It does what [`countersign_client::Client`](crate::Client) does, on a thread of its own.
//!
//! ```no_run
//! use countersign_client::blocking::Client;
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::from_key_file("shop.key")?;
//! let order = serde_json::json!({ "item": "book" });
//! let response = client.post("https://api.example.com/v1/orders").json(&order).send()?;
//! println!("{}", response.check()?.text()?);
//! # Ok(())
//! # }
//! ```

mod request_builder;
mod response;
mod runtime;

#[cfg(feature = "key-files")]
use std::path::Path;

use countersign::PrivateKey;
use http::Method;
use reqwest::IntoUrl;

use self::runtime::Runtime;
pub use self::{request_builder::RequestBuilder, response::Response};
#[cfg(feature = "key-files")]
use crate::key_source::KeySource;
use crate::{error::Error, methods::methods};

/// A client that signs every request, and blocks until the response is there. It is cheap to clone.
///
/// For its settings, make a [`crate::Client`] and give it to [`Client::from_async`].
#[derive(Clone, Debug)]
pub struct Client {
    inner: crate::Client,
    runtime: Runtime,
}

impl Client {
    /// As [`crate::Client::from_key_file`].
    ///
    /// # Errors
    ///
    /// As [`crate::Client::from_key_file`]; [`Error::Runtime`].
    #[cfg(feature = "key-files")]
    pub fn from_key_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_async(crate::Client::from_key_file(path)?)
    }

    /// As [`crate::Client::from_key_source`].
    ///
    /// # Errors
    ///
    /// As [`crate::Client::from_key_source`]; [`Error::Runtime`].
    #[cfg(feature = "key-files")]
    pub fn from_key_source(source: &KeySource) -> Result<Self, Error> {
        Self::from_async(crate::Client::from_key_source(source)?)
    }

    /// As [`crate::Client::new`].
    ///
    /// # Errors
    ///
    /// As [`crate::Client::new`]; [`Error::Runtime`].
    pub fn new(key: PrivateKey) -> Result<Self, Error> {
        Self::from_async(crate::Client::new(key)?)
    }

    /// A client with the settings of this one.
    ///
    /// # Errors
    ///
    /// [`Error::Runtime`] if the system starts no thread.
    pub fn from_async(client: crate::Client) -> Result<Self, Error> {
        Ok(Self { inner: client, runtime: Runtime::start()? })
    }

    methods!(RequestBuilder);

    /// A request of any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.inner.request(method, url), self.runtime.clone())
    }
}
