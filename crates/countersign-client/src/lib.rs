//! Signs the requests of reqwest, and verifies signed responses.
//!
//! ```no_run
//! use countersign_client::Client;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::from_key_file("shop.key")?;
//! let order = serde_json::json!({ "item": "book" });
//! let response = client.post("https://api.example.com/v1/orders").json(&order).send().await?;
//! println!("{}", response.status());
//! # Ok(())
//! # }
//! ```
//!
//! Signing is the last step before a request is sent. The client signs every attempt anew, with a new nonce and time. It
//! follows a redirect only within the same origin and only for a read, and signs that request anew as well.
//!
//! A response that anyone on the way could have written makes the client sign nothing more: it heeds redirects, the
//! server's time and the components that the server asks for only over TLS, from this machine, and in verified responses.
//!
//! When the server refuses a request for a while, as over a limit or after a restart, the client waits and signs anew, up to
//! 30 s ([`Client::wait_up_to`]). [`Refusal::check`] tells what else a server refuses, and what to do about it.
//!
//! Files and forms are sent without being held in memory ([`RequestBuilder::file`], [`RequestBuilder::multipart`]). A key comes
//! from a file, the environment, a descriptor or a keyring (`KeySource`), or stays where it is ([`RemoteKey`]).
//!
//! [`Client::http_client`] does all of this with the [`reqwest::Client`] of your application. With the feature `middleware`,
//! `Client::middleware` is a part of a `reqwest_middleware` client; with `tower`, `Client::layer` is a layer of hyper's; with
//! `blocking`, `blocking::Client` needs no async runtime. For another sender, use
//! [`Client::sign`] or [`Client::sign_http`], and send the request once, and soon:
//!
//! ```
//! # fn sign(client: &countersign_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use countersign_client::http::Request;
//!
//! let request = Request::post("https://api.example.com/v1/orders").body(r#"{"item":"book"}"#)?;
//! let signed = client.sign_http(request)?;
//! assert!(signed.headers().contains_key("signature"));
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::rotating`] replaces its key from time to time, where the server has an endpoint for that; [`OwnKey`] does so once.
//!
//! For a server that signs its responses, use [`Client::verify_responses`]: the client then accepts only whole responses
//! that the server made for this very attempt.
//!
//! | feature | adds |
//! | --- | --- |
//! | `key-files` (on) | [`Client::from_key_file`], `KeySource`, `OwnKey`: keys from files, also encrypted |
//! | `rustls` (on) | TLS by rustls |
//! | `keyring` | keys in the keyring of the system |
//! | `blocking` | `blocking::Client`, without an async runtime |
//! | `middleware` | `Client::middleware`, for `reqwest_middleware` |
//! | `tower` | `Client::layer`, for hyper and other tower services |

mod attempts;
mod authenticity;
#[cfg(feature = "blocking")]
pub mod blocking;
mod client;
mod clock;
mod clock_drift;
mod error;
mod explanation;
mod form;
mod key_in_use;
#[cfg(feature = "key-files")]
mod key_source;
#[cfg(feature = "tower")]
mod layer;
mod methods;
#[cfg(feature = "middleware")]
mod middleware;
mod outgoing;
#[cfg(feature = "key-files")]
mod own_key;
mod pieces;
mod publishable_client;
mod quota_left;
mod refusal;
mod remote_key;
mod request_builder;
mod reread;
mod response_verifier;
#[cfg(feature = "key-files")]
mod rotating;
mod signing;
mod transport;
mod unsigned;

pub use client::Client;
pub use clock_drift::ClockDrift;
pub use error::Error;
pub use explanation::{DifferentComponent, Explanation};
pub use form::{Form, Part};
#[cfg(feature = "key-files")]
pub use key_source::{BadKeySource, KeySource};
#[cfg(feature = "tower")]
pub use layer::{SignLayer, SignService, SignedBody};
#[cfg(feature = "middleware")]
pub use middleware::SigningMiddleware;
#[cfg(feature = "key-files")]
pub use own_key::{OwnKey, OwnRevocation, Rotated, credential::OwnCredential, error::OwnKeyError};
pub use publishable_client::PublishableClient;
pub use quota_left::QuotaLeft;
pub use refusal::Refusal;
pub use remote_key::RemoteKey;
pub use request_builder::RequestBuilder;

// Their types are part of the public interface: with these an application needs no dependencies of the same versions.
pub use http;
pub use reqwest;
