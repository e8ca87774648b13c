use std::{fmt, str::FromStr};

use countersign::{Origin, Scheme};
use http::uri::Authority;

/// The address of an upstream server, as in `http://127.0.0.1:3000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    scheme: Scheme,
    authority: Box<str>,
    host: Box<str>,
    port: u16,
}

/// The text is not the address of an upstream server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an upstream is http:// or https:// with a host and a port, and nothing behind them, like http://127.0.0.1:3000"
)]
pub struct BadUpstreamAddress;

impl UpstreamAddress {
    /// Returns the scheme: with `https` connections to the server have TLS.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

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
        let origin: Origin = text.parse().map_err(|_| BadUpstreamAddress)?;
        let authority: Authority = origin.authority().parse().map_err(|_| BadUpstreamAddress)?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let scheme = origin.scheme();
        let port = authority.port_u16().unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        Ok(Self { scheme, host: host.into(), port, authority: origin.authority().into() })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
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
            ("https://app", "app", 443),
            ("https://app:8443", "app", 8443),
        ] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
        for text in ["", "127.0.0.1:3000", "http://", "http://a/b", "http://u@a", "ftp://a"] {
            assert_eq!(text.parse::<UpstreamAddress>(), Err(BadUpstreamAddress), "{text}");
        }
    }
}
