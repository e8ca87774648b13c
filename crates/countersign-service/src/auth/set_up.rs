use std::net::SocketAddr;

use super::proxy_kind::ProxyKind;
use crate::config::upstream_address::UpstreamAddress;

/// Returns the configuration with which a proxy of this kind asks the service at this address, and forwards to this server.
///
/// ```
/// use countersign_service::{ProxyKind, set_up};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listen = "127.0.0.1:8080".parse()?;
/// let config = set_up(ProxyKind::Nginx, listen, &"http://127.0.0.1:3000".parse()?);
/// assert!(config.contains("auth_request"));
/// # Ok(())
/// # }
/// ```
pub fn set_up(kind: ProxyKind, service: SocketAddr, server: &UpstreamAddress) -> String {
    let text = match kind {
        ProxyKind::Nginx => include_str!("set_up/nginx.conf")
            .replace("ASKING", include_str!("set_up/nginx-asking.conf"))
            .replace("QUESTION", include_str!("set_up/nginx-question.conf")),
        ProxyKind::Caddy => include_str!("set_up/Caddyfile").to_owned(),
        ProxyKind::Traefik => include_str!("set_up/traefik.yml").to_owned(),
        ProxyKind::Envoy => {
            let version = include_str!("set_up/envoy-grpc-version.yaml");
            envoy(kind, include_str!("set_up/envoy-grpc-question.yaml"), version)
        }
        ProxyKind::EnvoyHttp => envoy(kind, include_str!("set_up/envoy-http-question.yaml"), ""),
    };
    let socket = |host: &str, port: u16| format!("{{ address: \"{host}\", port_value: {port} }}");
    text.replace("SOCKET_OF_SERVICE", &socket(&service.ip().to_string(), service.port()))
        .replace("SOCKET_OF_SERVER", &socket(server.host(), server.port()))
        .replace("SERVICE", &service.to_string())
        .replace("SERVER", server.authority())
}

fn envoy(kind: ProxyKind, question: &str, version: &str) -> String {
    include_str!("set_up/envoy.yaml")
        .replace("KIND", kind.as_str())
        .replace("QUESTION", question)
        .replace("VERSION", version)
}
