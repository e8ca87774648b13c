//! Verifies signed requests before a handler runs.
//!
//! ```no_run
//! use axum::{Json, Router, routing::get};
//! use countersign::{Origins, PrivateKey, Timestamp};
//! use countersign_server::{Publishable, Signed, Verifier, serve};
//! use countersign_store::{MemoryKeys, MemoryNonces, Window};
//! use serde_json::Value;
//!
//! /// Runs for whoever shows a publishable key.
//! async fn list(Publishable(caller): Publishable) -> String {
//!     format!("the orders of {}", caller.application().name)
//! }
//!
//! /// Runs once for each request that a private key signed, with the content that was signed.
//! async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> String {
//!     format!("{} ordered {order}", caller.application().name)
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = Timestamp::from_unix(1_763_900_000);
//! let keys = MemoryKeys::default(); // a service has a registry of them: `countersign_store::Registry`
//! let nonces = MemoryNonces::volatile(Window::default(), now)?;
//! let origins = Origins::new(["https://api.example.com".parse()?])?;
//! let app = Router::new()
//!     .route("/v1/orders", get(list).post(add))
//!     .layer(Verifier::new(origins, keys, nonces).layer());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! serve(listener, app, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! The verifier stands outside all routes. By default `GET`, `HEAD` and `OPTIONS` without content need a publishable
//! key, and everything else a signature, whatever the routes inside say. [`Routes`] declare more, or less under a name that
//! says so; [`Require`] and the extractors raise it, and nothing inside can lower it.
//!
//! [`SignResponses`] signs what is answered, refusals included, each answer bound to its request.

mod access;
mod body;
mod caller;
mod content;
mod content_memory;
#[cfg(feature = "cors")]
mod cors;
#[cfg(feature = "axum")]
mod extract;
mod failure_limit;
mod guarded_body;
mod ingress;
mod key_directory;
mod layer;
mod log_pace;
#[cfg(feature = "oauth")]
mod oauth;
mod passed;
mod proxies;
mod reason;
mod received;
mod refusal;
mod require;
mod rollout;
mod route;
mod route_table;
#[cfg(feature = "axum")]
mod routes;
#[cfg(feature = "serve")]
mod serve;
mod sign_responses;
mod telemetry;
mod unaccepted;
mod verifier;

pub use access::Access;
pub use body::{ContentError, VerifiedBody};
pub use caller::{Caller, Proof, SignedCaller};
#[cfg(feature = "cors")]
pub use cors::cors;
#[cfg(feature = "axum")]
pub use extract::{Publishable, Signed, SignedBy};
pub use guarded_body::GuardedBody;
pub use ingress::Ingress;
pub use key_directory::KeyDirectory;
pub use layer::{VerifierLayer, VerifierService};
#[cfg(all(feature = "oauth", feature = "axum"))]
pub use oauth::Bearer;
#[cfg(feature = "oauth")]
pub use oauth::{
    AccessToken, BadBearer, BadJwks, BadJwksUrl, BadLeeway, FetchError, IssuerKeys,
    RemoteTokenKeys, RequireBearer, RequireBearerService, TokenKeys,
};
pub use proxies::{BadProxies, ForwardedFields, Proxies};
pub use refusal::Refusal;
pub use require::{Require, RequireService};
pub use rollout::Rollout;
pub use route::Route;
pub use route_table::{BadRoute, RouteTable};
#[cfg(feature = "axum")]
pub use routes::Routes;
#[cfg(feature = "tls")]
pub use serve::{BadTls, Tls};
#[cfg(feature = "serve")]
pub use serve::{Listener, SaveAtSignal, SavedNonces, ServedBody, Stop, serve, until_signal};
pub use sign_responses::{SignResponses, SignResponsesService};
pub use telemetry::describe_metrics;
pub use verifier::Verifier;

/// Any error: that of a body, which is its maker's.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
