use std::{fmt, str::FromStr};

use countersign::{Origin, Scheme};
use http::uri::Authority;

/// The address of an upstream server, as in `http://127.0.0.1:3000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    authority: Box<str>,
    host: Box<str>,
    port: u16,
}

/// Why a text is not the address of an upstream server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUpstreamAddress {
    /// The text is not of the form.
    #[error(
        "an upstream is http:// with a host and a port, and nothing behind them, like http://127.0.0.1:3000"
    )]
    Form,
    /// TLS to the upstream.
    #[error(
        "https:// to an upstream is not supported; name an http:// address in a network of your own"
    )]
    Tls,
}

impl UpstreamAddress {
    /// Returns the host name or address to connect to, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port as in `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for UpstreamAddress {
    type Err = BadUpstreamAddress;

    fn from_str(text: &str) -> Result<Self, BadUpstreamAddress> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let origin: Origin = text.parse().map_err(|_| BadUpstreamAddress::Form)?;
        match origin.scheme() {
            Scheme::Http => {}
            Scheme::Https => return Err(BadUpstreamAddress::Tls),
        }
        let authority: Authority =
            origin.authority().parse().map_err(|_| BadUpstreamAddress::Form)?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { host: host.into(), port, authority: origin.authority().into() })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000),
            ("http://app", "app", 80),
            ("http://[::1]:81/", "::1", 81),
        ] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
        }
        for text in ["", "127.0.0.1:3000", "http://", "http://a/b", "http://u@a", "ftp://a"] {
            assert_eq!(text.parse::<UpstreamAddress>(), Err(BadUpstreamAddress::Form), "{text}");
        }
        assert_eq!("https://a".parse::<UpstreamAddress>(), Err(BadUpstreamAddress::Tls));
    }
}
