//! Verifies signed requests before a handler runs: a tower layer, extractors for axum, and a listener for open networks.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::{Json, Router, routing::get};
//! use countersign::{Origins, Window};
//! use countersign_server::{Publishable, SavedNonces, Signed, Verifier, serve};
//! use countersign_store::Registry;
//! use serde_json::Value;
//! use tokio::net::TcpListener;
//!
//! /// Runs for a caller with a publishable key.
//! async fn list(Publishable(caller): Publishable) -> String {
//!     format!("the orders of {}", caller.application().name)
//! }
//!
//! /// Runs once for each request that a private key signed, with the signed content.
//! async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> String {
//!     format!("{} ordered {order}", caller.application().name)
//! }
//!
//! /// Serves until SIGINT or SIGTERM. The registry has the keys. The replay guard's memory is in a file beside the registry from
//! /// a stop to the next start, so that a restart refuses no request.
//! async fn run(
//!     listener: TcpListener, // bound before the guard is resumed
//!     db: &str,              // as sqlite:countersign.db
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let origins = Origins::new(["https://api.example.com".parse()?])?;
//!     let registry = Arc::new(Registry::open_or_create(db).await?);
//!     let saved = registry.file().map_or("nonces".into(), |file| format!("{}-nonces", file.display()));
//!     let nonces = SavedNonces::resume(Window::default(), registry.clone(), saved).await?;
//!     let app = Router::new()
//!         .route("/v1/orders", get(list).post(add))
//!         .layer(Verifier::new(origins, registry, nonces.clone()).layer());
//!     serve(listener, app, nonces.until_signal()).await?;
//!     Ok(())
//! }
//! # use std::{io::{Read as _, Write as _}, net::TcpStream};
//! # use countersign::{PrivateKey, ProvenKey};
//! # use countersign_store::{NewCredential, system_time};
//! # /// Signs an order and sends it, and reads the status line of the response.
//! # fn order(address: std::net::SocketAddr, key: PrivateKey) -> String {
//! #     let order = http::Request::post("/v1/orders").header("content-type", "application/json").body("7");
//! #     let (head, _) = countersign_test::signed_by(key, order.unwrap(), system_time()).into_parts();
//! #     let fields = head.headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
//! #     let head = format!("POST /v1/orders HTTP/1.1\r\n{}content-length: 1\r\n", fields.collect::<String>());
//! #     let mut stream = TcpStream::connect(address).unwrap();
//! #     stream.write_all(format!("{head}connection: close\r\n\r\n7").as_bytes()).unwrap();
//! #     let mut response = String::new();
//! #     stream.read_to_string(&mut response).unwrap();
//! #     response.lines().next().unwrap().to_owned()
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! #     let folder = tempfile::tempdir().unwrap();
//! #     let db = format!("sqlite:{}", folder.path().join("r.db").display());
//! #     let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
//! #     let address = listener.local_addr().unwrap();
//! #     let client = async {
//! #         let send = |seed| tokio::task::spawn_blocking(move || order(address, PrivateKey::ed25519(&[seed; 32])));
//! #         // A response shows that the server runs, and has made its registry.
//! #         assert_eq!(send(1).await.unwrap(), "HTTP/1.1 401 Unauthorized");
//! #         let registry = Registry::open(&db).await.unwrap();
//! #         let proof = ProvenKey::proof(&PrivateKey::ed25519(&[2; 32])).unwrap();
//! #         let (proven, now) = (ProvenKey::from_proof(&proof).unwrap(), system_time());
//! #         registry.add_application("shop", "test", now).await.unwrap();
//! #         registry.add_credential(NewCredential::new("shop", "laptop", &proven), now).await.unwrap();
//! #         assert_eq!(send(2).await.unwrap(), "HTTP/1.1 200 OK");
//! #     };
//! #     tokio::select! {
//! #         ended = run(listener, &db) => panic!("{ended:?}"),
//! #         () = client => {}
//! #     }
//! # }
//! ```
//!
//! Put the verifier around all routes. By default `GET`, `HEAD` and `OPTIONS` without content require a publishable key, and all
//! other requests a signature. [`Routes`] can require more, or less under a name that says so. [`Require`] and the extractors can
//! only require more.
//!
//! Tests of such a service need no socket and no wait: the crate `countersign-test` has a key, stores and signed requests.
//!
//! [`SignResponses`] signs responses, refusals included, each bound to its request.
//!
//! | feature | adds |
//! | --- | --- |
//! | `axum` (on) | extractors, [`Routes`], and `HolderRoutes`, where the holder of a key replaces or revokes it |
//! | `serve` (on) | [`serve`], a listener with limits on connections, slow clients and header sizes, which stops in order |
//! | `tls` | `Tls` for that listener |
//! | `oauth` | `RequireBearer`: access tokens beside signatures |
//! | `cors` | `cors`: cross-origin requests of browsers |
//! | `usage`, `user-agents` | `Usage`: counts who calls which route, from where, with which program |
//! | `test-util` | callers for the tests of handlers |

mod caller;
mod clock;
mod content;
#[cfg(feature = "cors")]
mod cors;
#[cfg(feature = "axum")]
mod holder;
mod ingress;
#[cfg(feature = "oauth")]
mod oauth;
mod recording;
mod refusal;
#[cfg(feature = "oauth")]
mod remote_keys;
mod response_length;
mod route;
#[cfg(feature = "axum")]
mod routes;
#[cfg(feature = "serve")]
mod saved_nonces;
#[cfg(feature = "serve")]
mod serve;
mod sign_responses;
mod telemetry;
#[cfg(feature = "usage")]
mod usage;
mod verifier;

#[cfg(feature = "axum")]
pub use caller::extract::{Publishable, Signed, SignedBy};
pub use caller::{
    Caller, Proof, SignedCaller,
    require::{Require, RequireService},
};
pub use content::{
    guarded_body::GuardedBody,
    verified_body::{ContentError, VerifiedBody},
};
#[cfg(feature = "cors")]
pub use cors::cors;
#[cfg(feature = "axum")]
pub use holder::HolderRoutes;
pub use ingress::{
    Ingress,
    proxies::{BadProxies, ForwardedFields, Proxies},
};
#[cfg(all(feature = "oauth", feature = "axum"))]
pub use oauth::Bearer;
#[cfg(feature = "oauth")]
pub use oauth::{
    AccessToken, BadBearer, BadJwks, BadLeeway, FetchError, IssuerKeys, RemoteTokenKeys,
    RequireBearer, RequireBearerService, TokenKeys,
};
pub use refusal::Refusal;
#[cfg(feature = "oauth")]
pub use remote_keys::fetcher::BadKeysUrl;
pub use route::{
    Route,
    access::Access,
    rollout::Rollout,
    table::{BadRoute, RouteTable},
};
#[cfg(feature = "axum")]
pub use routes::Routes;
#[cfg(feature = "serve")]
pub use saved_nonces::{SaveAtSignal, SavedNonces};
#[cfg(feature = "tls")]
pub use serve::{BadTls, Tls};
#[cfg(feature = "serve")]
pub use serve::{Listener, ServedBody, Stop, serve, until_signal};
pub use sign_responses::{SignResponses, SignResponsesService, key_directory::KeyDirectory};
pub use telemetry::describe_metrics;
#[cfg(feature = "usage")]
pub use usage::Usage;
#[cfg(all(feature = "serve", feature = "usage"))]
pub use usage::flush_at_stop::FlushAtStop;
pub use verifier::{
    Verifier,
    layer::{VerifierLayer, VerifierService},
};

/// The error of a body of any type.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
