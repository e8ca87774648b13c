use std::{fmt, path::Path, sync::Arc};

use countersign::{Scheme, with_reasons};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    BoxError,
    config::{fault::ConfigFault, upstream_settings::UpstreamSettings},
};

/// TLS 1.2 and 1.3 to the upstreams that have `https`. Their certificates are verified for the host of their address.
#[derive(Clone)]
pub(crate) struct UpstreamTls(TlsConnector);

impl UpstreamTls {
    /// Reads the roots, if an upstream has TLS: those of the file that is named, otherwise those of the system.
    pub(crate) fn read(settings: &UpstreamSettings) -> Result<Option<Self>, ConfigFault> {
        let is_needed = settings.servers.iter().any(|server| server.scheme() == Scheme::Https);
        if !is_needed && settings.ca.is_none() {
            return Ok(None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| {
            ConfigFault::new(format!("TLS is not available: {error}"), "use http:// upstreams")
        })?;
        let mut config = match &settings.ca {
            Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
            None => {
                let builder = builder.with_platform_verifier().map_err(|error| {
                    ConfigFault::new(
                        format!("the system has no roots for https:// upstreams: {error}"),
                        "name a PEM file of roots as `ca` in [upstream]",
                    )
                })?;
                builder.with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self(TlsConnector::from(Arc::new(config)))))
    }

    /// Shakes hands with the server of this name or address.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, BoxError> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(self.0.connect(name, stream).await?)
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

/// Reads the certificates of a PEM file.
fn roots(file: &Path) -> Result<RootCertStore, ConfigFault> {
    const HINT: &str = "name a PEM file of the CERTIFICATE blocks of your authority";
    let fault =
        |error: String| ConfigFault::new(format!("upstream.ca: {}: {error}", file.display()), HINT);
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(with_reasons(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(fault("it has no certificates".to_owned())),
        false => Ok(roots),
    }
}
