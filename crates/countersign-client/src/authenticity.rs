use std::net::SocketAddr;

use countersign::is_loopback;
use reqwest::Url;

/// Whether a response is known to come from the server that its request was sent to.
///
/// Only an authenticated response makes the client sign anything more: a second attempt, a redirect, another time.
/// Without TLS, an attacker on the connection could otherwise have the client sign a request that its caller never made,
/// or the same write twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authenticity {
    Authenticated,
    Unauthenticated,
}

impl Authenticity {
    /// By the connection that a response came over: TLS, or one that does not leave this machine.
    pub(crate) fn of_connection(url: &Url, peer: Option<SocketAddr>) -> Self {
        // A proxy for http:// is the peer. A proxy on another machine can write anything.
        let here = || {
            is_loopback(url.host_str().unwrap_or_default())
                && peer.is_some_and(|peer| peer.ip().is_loopback())
        };
        match url.scheme() == "https" || here() {
            true => Self::Authenticated,
            false => Self::Unauthenticated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_this_machine_are_authenticated_and_nothing_else_is() {
        use Authenticity::{Authenticated, Unauthenticated};
        let table = [
            ("https://api.example.com/", Some("192.0.2.1:443"), Authenticated),
            ("https://api.example.com/", None, Authenticated),
            ("http://localhost:8080/", Some("127.0.0.1:8080"), Authenticated),
            ("http://127.0.0.1:8080/", Some("127.0.0.1:8080"), Authenticated),
            ("http://127.9.9.9/", Some("127.9.9.9:80"), Authenticated),
            ("http://[::1]:8080/", Some("[::1]:8080"), Authenticated),
            ("http://api.example.com/", Some("192.0.2.1:80"), Unauthenticated),
            ("http://10.0.0.7/", Some("10.0.0.7:80"), Unauthenticated),
            ("http://api.example.com/", Some("127.0.0.1:3128"), Unauthenticated),
            ("http://localhost/", Some("192.0.2.1:3128"), Unauthenticated),
            ("http://localhost/", None, Unauthenticated),
            ("http://localhost.example.com/", Some("127.0.0.1:80"), Unauthenticated),
            ("http://127.0.0.1.example.com/", Some("127.0.0.1:80"), Unauthenticated),
        ];
        for (url, peer, expected) in table {
            let peer = peer.map(|peer| peer.parse().unwrap());
            let found = Authenticity::of_connection(&url.parse().unwrap(), peer);
            assert_eq!(found, expected, "{url} from {peer:?}");
        }
    }
}
