use std::{net::SocketAddr, path::PathBuf};

use countersign::Origin;
use ipnet::IpNet;

use super::upstream_address::UpstreamAddress;
use crate::auth::proxy_kind::ProxyKind;

/// Settings from flags and environment variables. A setting that is given here replaces that of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// The origins of the service.
    pub origins: Vec<Origin>,
    /// The servers to forward to.
    pub upstreams: Vec<UpstreamAddress>,
    /// The registry.
    pub registry: Option<String>,
    /// The Redis of guard and limits.
    pub redis: Option<String>,
    /// The certificate chain, with the key below.
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the certificate.
    pub tls_key: Option<PathBuf>,
    /// The trusted proxies in front of the service.
    pub proxies: Vec<IpNet>,
    /// The kind of proxy that asks, for forward authentication.
    pub auth: Option<ProxyKind>,
    /// Whether usage is recorded.
    pub usage: Option<bool>,
    /// The address of the operations listener.
    pub operations: Option<SocketAddr>,
}
