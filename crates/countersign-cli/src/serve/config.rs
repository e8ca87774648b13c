use clap::Args;
use countersign::Scheme;
use countersign_service::{ConfigSource, ProxyKind, ServiceError, set_up};

use super::service_failure::service_failure;
use crate::{
    failure::{Exit, Failure},
    output::print,
};

/// Prints the configuration of a proxy for `countersign serve auth`
///
/// The proxy asks the address of --listen, and forwards to the first --upstream.
#[derive(Args, Debug)]
pub(super) struct Config {
    /// The kind of proxy: nginx, traefik, caddy, envoy (over gRPC) or envoy-http
    kind: ProxyKind,
}

impl Config {
    pub(super) fn run(self, source: &ConfigSource) -> Result<Exit, Failure> {
        let Some(server) = source.overrides.upstreams.first().cloned() else {
            return Err(Failure::local(
                "no server is named to which the proxy forwards",
                "add --upstream http://127.0.0.1:3000",
            ));
        };
        if server.scheme() == Scheme::Https {
            return Err(Failure::local(
                "the configuration is printed for http:// servers alone",
                "name the server as http://HOST:PORT, and add TLS to the printed configuration by hand",
            ));
        }
        let mut source = source.clone();
        source.overrides.auth = None;
        let config =
            source.load().map_err(|fault| service_failure(&source, &ServiceError::from(fault)))?;
        print(set_up(self.kind, config.listen(), &server))?;
        Ok(Exit::Done)
    }
}
