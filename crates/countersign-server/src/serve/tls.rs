use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    CertificateError, InconsistentKeys, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::{Accept, TlsAcceptor};

use super::socket::Socket;

/// TLS 1.2 and 1.3 for a [`Listener`](crate::Listener), with the certificate and the key of two PEM files. Clients choose between
/// HTTP/2 and HTTP/1.1 by ALPN.
///
/// Client certificates and early data (0-RTT) are not supported; anyone could send early data again.
///
/// ```no_run
/// use countersign_server::{Listener, Tls};
/// use tokio::net::TcpListener;
///
/// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::from_files("/etc/ssl/api.example.com.pem", "/etc/ssl/api.example.com.key")?;
/// let listener = Listener::from(TcpListener::bind("0.0.0.0:443").await?).tls(tls.clone());
/// tls.reload()?; // after the certificate was renewed
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
}

/// The certificate and the key that clients see.
#[derive(Debug)]
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    certified: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads a certificate chain and its private key. The chain begins with the server's certificate and leads towards its root.
    /// The key is PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// [`BadTls`] if a file cannot be read or has the wrong content, the certificate and the key do not belong together, or the
    /// certificate is not valid now.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, BadTls> {
        let (certificate, key) = (certificate.into(), key.into());
        let certified = RwLock::new(Arc::new(load(&certificate, &key)?));
        let shown = Arc::new(Shown { certificate, key, certified });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BadTls::Unsupported)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown })
    }

    /// Reads the two files again, for new connections: call it after a certificate was renewed.
    ///
    /// # Errors
    ///
    /// As [`Tls::from_files`]. The server then keeps the previous certificate and key.
    pub fn reload(&self) -> Result<(), BadTls> {
        let certified = Arc::new(load(&self.shown.certificate, &self.shown.key)?);
        *self.shown.certified.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    pub(super) fn accept(&self, socket: Socket) -> Accept<Socket> {
        self.acceptor.accept(socket)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { certificate, key, .. } = &*self.shown;
        f.debug_struct("Tls").field("certificate", certificate).field("key", key).finish()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.certified.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&certified))
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, BadTls> {
    let path = || certificate.to_owned();
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| BadTls::Certificate { path: path(), source })?;
    if chain.is_empty() {
        return Err(BadTls::Certificate { path: path(), source: pem::Error::NoItemsFound });
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| BadTls::Key { path: key.to_owned(), source })?;
    let provider = aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, private, &provider).map_err(|error| {
        let (certificate, key) = (path(), key.to_owned());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                BadTls::Mismatch { certificate, key }
            }
            source => BadTls::Unusable { certificate, key, source },
        }
    })?;
    match wrong_dates(&certified, &provider) {
        Some(source) => Err(BadTls::Dates { certificate: path(), source }),
        None => Ok(certified),
    }
}

/// Returns why clients would refuse the certificate's dates now. Ignores who signed the certificate.
fn wrong_dates(certified: &CertifiedKey, provider: &CryptoProvider) -> Option<rustls::Error> {
    let certificate = ParsedCertificate::try_from(certified.end_entity_cert().ok()?).ok()?;
    // No root is trusted here, but the dates are checked first.
    let verified = verify_server_cert_signed_by_trust_anchor(
        &certificate,
        &RootCertStore::empty(),
        &[],
        UnixTime::now(),
        provider.signature_verification_algorithms.all,
    );
    match verified {
        Err(
            error @ rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ),
        ) => Some(error),
        _ => None,
    }
}

/// Why TLS cannot be set up. The message says how to fix it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum BadTls {
    #[error("no certificates can be read from {}; name a PEM file of CERTIFICATE blocks, the server's own first", path.display())]
    Certificate { path: PathBuf, source: pem::Error },
    #[error("no private key can be read from {}; name a PEM file of a PRIVATE KEY that is not encrypted", path.display())]
    Key { path: PathBuf, source: pem::Error },
    #[error("the key in {} is not that of the first certificate in {}; name the key and the certificate that belong together", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the first certificate in {} is not valid at this time; renew it, or set the clock", certificate.display())]
    Dates { certificate: PathBuf, source: rustls::Error },
    #[error("{} and {} cannot be used; get an X.509 version 3 certificate for an RSA, ECDSA or Ed25519 key", certificate.display(), key.display())]
    Unusable { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("TLS 1.2 and 1.3 are not available")]
    Unsupported(#[source] rustls::Error),
}
