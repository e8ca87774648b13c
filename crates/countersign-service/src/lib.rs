//! Protects any HTTP service with Countersign: a reverse proxy that verifies requests before the service sees them, as `countersign
//! serve` runs it.
//!
//! ```no_run
//! use countersign_service::{ConfigSource, Overrides, run};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let overrides = Overrides {
//!     origins: vec!["https://api.example.com".parse()?],
//!     upstreams: vec!["http://127.0.0.1:3000".parse()?],
//!     ..Overrides::default()
//! };
//! let source = ConfigSource { file: None, overrides };
//! run(source, None, |listening| println!("{}", listening.service)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A configuration is parsed once, into a [`ServiceConfig`]. A [`ConfigFault`] names the line of the file that is wrong.

#![cfg(unix)]

mod auth;
mod config;
mod control;
mod current;
mod error;
mod gate;
mod generation;
mod operations;
mod problem;
mod proxy;
mod service;
mod service_code;
mod telemetry;

// The public interface is:
pub use auth::{
    AskedContent, ForwardAuth,
    answer_body::AnswerBody,
    proxy_kind::{ProxyKind, UnknownProxyKind},
    set_up::set_up,
};
pub use config::{
    ServiceConfig,
    fault::ConfigFault,
    overrides::Overrides,
    period::{BadPeriod, Period},
    route_settings::{ContentCheck, RouteSettings},
    source::ConfigSource,
    upstream_address::{BadUpstreamAddress, UpstreamAddress},
};
pub use control::{NotReloaded, reload};
pub use error::ServiceError;
pub use proxy::{ReverseProxy, proxied_body::ProxiedBody};
pub use service::{Listening, check, run};
pub use service_code::ServiceCode;

/// The error of a body of any type.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
