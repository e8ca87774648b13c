//! Signs what reqwest sends.
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
//! Signing is the last step before a request is sent: nothing changes it afterwards. Every attempt is signed anew, with
//! its own nonce and time. A redirect is followed only within the same origin and only for a read, and signed anew as well.
//!
//! A response that anyone on the way could have written makes the client sign nothing more: redirects, the time of the
//! server and what it wants covered are heeded over TLS, from this machine, and in responses that were verified.
//!
//! With a [`reqwest::Client`] that the application already has, [`Client::http_client`] does all of this. Another sender
//! takes what [`Client::sign`] and [`Client::sign_http`] have signed, and sends it once, and soon:
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
//! Where a server signs its answers, [`Client::verify_responses`] takes no others: each is then the server's own, to the very
//! attempt that it answers, and whole.

mod authenticity;
mod client;
mod clock;
mod error;
mod explanation;
#[cfg(feature = "key-files")]
mod key_file;
mod publishable_client;
mod quota_left;
mod refusal;
mod request_builder;
mod reread;
mod response_verifier;

pub use client::Client;
pub use error::Error;
pub use explanation::{DifferentComponent, Explanation};
pub use publishable_client::PublishableClient;
pub use quota_left::QuotaLeft;
pub use refusal::Refusal;
pub use request_builder::RequestBuilder;

// Their types are in what is public here: with these an application needs no dependencies of the same versions.
pub use http;
pub use reqwest;
