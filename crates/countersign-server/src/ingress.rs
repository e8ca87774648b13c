pub(crate) mod forwarded;
pub(crate) mod proxies;
pub(crate) mod received;
pub(crate) mod source;

use std::net::IpAddr;

use countersign::{Misdirected, Origin, Origins, Rejection};
use countersign_store::ClientAddress;
use http::{HeaderMap, Uri, request::Parts};

use self::proxies::{BadForwarded, Proxies};
use crate::refusal::reason::Reason;

/// How a server finds a request's origin and its client's address.
///
/// Make an ingress from [`Origins`] if clients connect to the server directly, or if its proxies pass `Host` on. It reads the
/// request line, `:authority` and `Host`.
///
/// ```
/// use countersign::Origins;
/// use countersign_server::{ForwardedFields, Ingress, Proxies};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origins = Origins::new(["https://api.example.com".parse()?])?;
/// let proxies = Proxies::new(["10.0.0.7/32".parse()?], ForwardedFields::XForwarded)?;
/// // A proxy that passes `Host` on, and adds to `X-Forwarded-For`:
/// let ingress = Ingress::from(origins.clone()).proxies(proxies.clone());
/// // A proxy that sends a `Host` of its own, and the client's `Host` as `X-Forwarded-Host`:
/// let ingress = Ingress::forwarded(origins, proxies);
/// // A proxy that sends a `Host` of its own, and does not send the client's:
/// let ingress = Ingress::fixed("https://api.example.com".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ingress {
    origins: Origins,
    named_by: NamedBy,
    proxies: Option<Proxies>,
}

#[derive(Clone, Debug)]
enum NamedBy {
    Host,
    Setup(Origin),
    Proxies,
}

impl From<Origins> for Ingress {
    fn from(origins: Origins) -> Self {
        Self { origins, named_by: NamedBy::Host, proxies: None }
    }
}

impl Ingress {
    /// Treats every request as a request to this origin, whatever its `Host` is.
    ///
    /// Only for a server that is reached under no other origin: a signature made for another host that leads here is then refused
    /// as invalid, and not as misdirected. A request line or `:scheme` with another scheme is misdirected. `http` is accepted for
    /// an `https` origin, since a proxy may have ended TLS.
    pub fn fixed(origin: Origin) -> Self {
        let origins = origin.clone().into();
        Self { origins, named_by: NamedBy::Setup(origin), proxies: None }
    }

    /// Takes the origin from the forwarded host, for requests from these proxies. A forwarded scheme, if present, must match that
    /// origin's. A `Host` that names another of the origins is refused; any other `Host` is the proxy's name for this server. For
    /// other requests the origin is `Host`.
    ///
    /// If `Host` is the proxy's name for this server, a scheme in the request line or in `:scheme` is the proxy's as well, and is
    /// not compared.
    pub const fn forwarded(origins: Origins, proxies: Proxies) -> Self {
        Self { origins, named_by: NamedBy::Proxies, proxies: Some(proxies) }
    }

    /// Takes the client's address from the fields of these proxies. Default: the address of the socket's peer.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Returns the origin of a request that no verifier has taken yet, for layers around it; `None` if the verifier refuses the
    /// request as misdirected, or because of its proxy's fields.
    pub fn find_origin(&self, head: &Parts) -> Option<&Origin> {
        let peer = head.extensions.get::<ClientAddress>().map(|address| address.ip());
        self.origin(peer, &head.uri, &head.headers).ok()
    }

    /// Returns the origins, for the log.
    pub(crate) fn served(&self) -> String {
        self.origins.iter().map(Origin::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Returns the address of the client, if proxies are listed.
    pub(crate) fn client_address(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<IpAddr>, Reason> {
        let Some(proxies) = &self.proxies else { return Ok(None) };
        let peer = peer.ok_or(Reason::NoClientAddress)?;
        Ok(Some(proxies.client_address(peer, headers)?))
    }

    /// Returns the origin of a request.
    pub(crate) fn origin(
        &self,
        peer: Option<IpAddr>,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<&Origin, Reason> {
        let named = match self.origins.resolve(uri, headers) {
            Ok(origin) => Some(origin),
            Err(Misdirected::NotOurs) => None,
            Err(misdirected) => return Err(Rejection::from(misdirected).into()),
        };
        let forwarded = match (&self.named_by, &self.proxies) {
            (NamedBy::Setup(origin), _) if origin.is_under(uri.scheme_str()) => return Ok(origin),
            (NamedBy::Setup(_), _) => {
                return Err(Rejection::from(Misdirected::OtherScheme).into());
            }
            (NamedBy::Proxies, Some(proxies)) => {
                let peer = peer.ok_or(Reason::NoClientAddress)?;
                proxies.origin(peer, headers, &self.origins)?
            }
            (NamedBy::Host | NamedBy::Proxies, _) => None,
        };
        match (forwarded, named) {
            (Some(forwarded), Some(named)) if forwarded != named => {
                Err(BadForwarded::Conflict.into())
            }
            (Some(origin), _) | (None, Some(origin)) => Ok(origin),
            (None, None) => Err(Rejection::from(Misdirected::NotOurs).into()),
        }
    }
}

/// Returns the URI as it was received. A nested router sees a shortened URI.
#[cfg(feature = "axum")]
pub(crate) fn original_uri(head: &Parts) -> &Uri {
    let original = head.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(&head.uri, |original| &original.0)
}

#[cfg(not(feature = "axum"))]
pub(crate) const fn original_uri(head: &Parts) -> &Uri {
    &head.uri
}

#[cfg(test)]
mod tests {
    use countersign::Code;
    use http::{HeaderValue, header::HOST};

    use super::*;
    use crate::ingress::proxies::ForwardedFields;

    const PROXY: &str = "10.0.0.7";
    const CLIENT: &str = "192.0.2.1";

    fn origins() -> Origins {
        let ours = ["https://api.example.com", "https://b.example.com:8443"];
        Origins::new(ours.map(|origin| origin.parse().unwrap())).unwrap()
    }

    fn proxies() -> Proxies {
        Proxies::new(["10.0.0.0/24".parse().unwrap()], ForwardedFields::XForwarded).unwrap()
    }

    fn origin(
        ingress: &Ingress,
        peer: &str,
        host: &str,
        forwarded_host: Option<&'static str>,
    ) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        headers.extend(forwarded_host.map(|host| {
            let name = http::HeaderName::from_static("x-forwarded-host");
            (name, HeaderValue::from_static(host))
        }));
        let peer = Some(peer.parse().unwrap());
        let origin = ingress.origin(peer, &Uri::from_static("/"), &headers);
        origin.map(Origin::to_string).map_err(|reason| reason.code())
    }

    #[test]
    fn who_names_the_origin_is_a_choice_of_three() {
        let (a, b) = ("https://api.example.com", "https://b.example.com:8443");
        let (misdirected, bad) = (Err(Code::Misdirected), Err(Code::BadRequest));
        let by_host = Ingress::from(origins()).proxies(proxies());
        let fixed = Ingress::fixed(a.parse().unwrap());
        let forwarded = Ingress::forwarded(origins(), proxies());
        let cases = [
            (&by_host, PROXY, "api.example.com", None, Ok(a)),
            (&by_host, PROXY, "api.example.com", Some("b.example.com:8443"), Ok(a)),
            (&by_host, PROXY, "backend", Some("api.example.com"), misdirected),
            (&fixed, PROXY, "backend", None, Ok(a)),
            (&fixed, CLIENT, "b.example.com:8443", Some("evil.test"), Ok(a)),
            (&fixed, PROXY, "not/a/host", None, bad),
            (&forwarded, PROXY, "backend", Some("api.example.com"), Ok(a)),
            (&forwarded, PROXY, "backend", Some("b.example.com:8443"), Ok(b)),
            (&forwarded, PROXY, "api.example.com:443", Some("API.example.com"), Ok(a)),
            (&forwarded, PROXY, "b.example.com:8443", Some("api.example.com"), bad),
            (&forwarded, PROXY, "backend", Some("evil.test"), misdirected),
            (&forwarded, PROXY, "api.example.com", None, bad),
            (&forwarded, PROXY, "backend", None, bad),
            (&forwarded, PROXY, "not/a/host", Some("api.example.com"), bad),
            (&forwarded, CLIENT, "api.example.com", Some("b.example.com:8443"), Ok(a)),
            (&forwarded, CLIENT, "api.example.com", Some("not/a/host"), Ok(a)),
            (&forwarded, CLIENT, "backend", Some("api.example.com"), misdirected),
        ];
        for (ingress, peer, host, forwarded_host, expected) in cases {
            let found = origin(ingress, peer, host, forwarded_host);
            let named = found.as_deref().map_err(|&code| code);
            assert_eq!(named, expected, "{ingress:?} {peer} {host} {forwarded_host:?}");
        }
    }

    #[test]
    fn a_fixed_origin_has_its_scheme() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("backend"))]);
        let other = Err(Reason::from(Rejection::from(Misdirected::OtherScheme)));
        for (ours, named, misdirected) in [
            ("http://api.example.com", "https://backend/x", true),
            ("http://api.example.com", "http://backend/x", false),
            ("http://api.example.com", "/x", false),
            ("https://api.example.com", "https://backend/x", false),
            ("https://api.example.com", "http://backend/x", false),
            ("https://api.example.com", "ws://backend/x", true),
        ] {
            let origin: Origin = ours.parse().unwrap();
            let fixed = Ingress::fixed(origin.clone());
            let found = fixed.origin(None, &named.parse().unwrap(), &headers);
            let expected = if misdirected { other.clone() } else { Ok(&origin) };
            assert_eq!(found, expected, "{ours}: {named}");
        }
    }

    #[test]
    fn a_list_of_proxies_is_of_no_use_where_nobody_knows_the_peer() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("api.example.com"))]);
        let uri = Uri::from_static("/");
        let forwarded = Ingress::forwarded(origins(), proxies());
        assert_eq!(forwarded.origin(None, &uri, &headers), Err(Reason::NoClientAddress));
        let listed = Ingress::from(origins()).proxies(proxies());
        assert_eq!(listed.client_address(None, &headers), Err(Reason::NoClientAddress));
        let direct = Ingress::from(origins());
        assert_eq!(direct.client_address(None, &headers), Ok(None));
        assert!(direct.origin(None, &uri, &headers).is_ok());
    }
}
