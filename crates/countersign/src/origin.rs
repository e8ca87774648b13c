use std::{
    collections::HashSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use http::{HeaderMap, HeaderValue, Uri, header::HOST};

/// The scheme of a request. It comes from the server's configuration: behind a proxy that ends TLS, the message does not
/// have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, default port 80.
    Http,
    /// `https`, default port 443.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Scheme {
    type Err = BadOrigin;

    fn from_str(scheme: &str) -> Result<Self, BadOrigin> {
        match scheme {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(BadOrigin::Scheme),
        }
    }
}

/// A scheme and an authority, as in `https://api.example.com`: the server that a request is for.
///
/// The authority is in the form of `@authority` (RFC 9421 §2.2.3): lower case, and without the scheme's default port.
///
/// ```
/// use countersign::Origin;
///
/// let origin: Origin = "https://API.example.com:443".parse()?;
/// assert_eq!(origin.to_string(), "https://api.example.com");
/// assert!("https://api.example.com/v1".parse::<Origin>().is_err());
/// # Ok::<(), countersign::BadOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Box<str>,
}

/// Why a text is no origin or no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOrigin {
    /// Not `http://…` or `https://…`.
    #[error("an origin starts with http:// or https://")]
    Scheme,
    /// Not a host with an optional port. A user, path, query or fragment is refused.
    #[error("an authority is a host name or address with an optional port, and nothing else")]
    Authority,
}

impl Origin {
    /// The origin of `authority` (a host and an optional port, as in a `Host` header) under `scheme`.
    ///
    /// # Errors
    ///
    /// [`BadOrigin::Authority`]. An empty host would make a signature good at every server.
    pub fn new(scheme: Scheme, authority: &str) -> Result<Self, BadOrigin> {
        let HostPort { host, port } = HostPort::parse(authority).ok_or(BadOrigin::Authority)?;
        let mut authority = host.to_string();
        if let Some(port) = port.filter(|&port| port != scheme.default_port()) {
            authority.push_str(&format!(":{port}"));
        }
        Ok(Self { scheme, authority: authority.into() })
    }

    /// The origin of an absolute URI, as in `https://api.example.com/v1/orders`.
    ///
    /// # Errors
    ///
    /// [`BadOrigin`] also for a URI without a scheme or an authority.
    pub fn of_uri(uri: &Uri) -> Result<Self, BadOrigin> {
        let scheme = uri.scheme_str().unwrap_or_default().parse()?;
        Self::new(scheme, uri.authority().map_or("", |authority| authority.as_str()))
    }

    /// Whether all `Host` fields, if any, name this origin.
    pub fn agrees_with_host(&self, headers: &HeaderMap) -> bool {
        let named = |host: &HeaderValue| {
            let host = host.to_str().ok().and_then(HostPort::parse);
            host.is_some_and(|host| self.is_meant_by(host))
        };
        headers.get_all(HOST).iter().all(named)
    }

    /// The scheme.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The authority: lower case, without the scheme's default port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The `Host` values for it: `https://a.test` is `a.test` and `a.test:443`, as is `http://a.test:443`.
    fn names(&self) -> [String; 2] {
        let named = HostPort::parse(&self.authority);
        let host = named.map_or_else(String::new, |named| named.host.to_string());
        let port = named.and_then(|named| named.port).unwrap_or(self.scheme.default_port());
        [self.authority.to_string(), format!("{host}:{port}")]
    }

    fn is_meant_by(&self, named: HostPort<'_>) -> bool {
        let Some(own) = HostPort::parse(&self.authority) else { return false };
        let port = named.port.filter(|&port| port != self.scheme.default_port());
        own.host == named.host && own.port == port
    }

    /// Whether a request with this scheme, in its request line or in `:scheme`, can be for this origin. `http` can be for
    /// an `https` origin, as on the connection from a proxy that ended TLS (RFC 9110 §7.4 does not allow the reverse). A
    /// request without a scheme can be for any.
    pub fn is_under(&self, scheme: Option<&str>) -> bool {
        scheme.is_none_or(|named| {
            named.eq_ignore_ascii_case(self.scheme.as_str()) || named.eq_ignore_ascii_case("http")
        })
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(BadOrigin::Scheme)?;
        Self::new(scheme.parse()?, authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

/// Whether the host of a URL is this machine: `localhost` or a loopback address, IPv6 in brackets.
pub fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The origins of a server. There is no default: a signature made for a host must not be good at others.
///
/// ```
/// use countersign::{Misdirected, Origins};
/// use http::{HeaderMap, HeaderValue, Uri, header::HOST};
///
/// let origins = Origins::new(["https://api.example.com".parse()?])?;
/// let (target, mut headers) = (Uri::from_static("/v1/orders"), HeaderMap::new());
/// headers.insert(HOST, HeaderValue::from_static("api.example.com"));
/// assert_eq!(origins.resolve(&target, &headers)?.authority(), "api.example.com");
/// headers.insert(HOST, HeaderValue::from_static("203.0.113.7"));
/// assert_eq!(origins.resolve(&target, &headers), Err(Misdirected::NotOurs));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Origins(Box<[Origin]>);

/// Why a list of origins cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOrigins {
    /// A server without an origin would refuse every request.
    #[error("no origin is given; name the origins of this server, like https://api.example.com")]
    Empty,
    /// Two origins with the same `Host` value: a request could mean either.
    #[error("{0} is given twice, or another origin can be called the same")]
    Ambiguous(Box<str>),
}

/// Why no origin could be found for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misdirected {
    /// No `Host` and no `:authority`.
    #[error("the request names no host")]
    NoHost,
    /// Two `Host` fields.
    #[error("the request has more than one Host field")]
    TwoHosts,
    /// Not a host with an optional port.
    #[error("the request's host is not a host name or address with an optional port")]
    BadHost,
    /// The request line or `:authority` names another host than the `Host` field.
    #[error("the request names two different hosts")]
    Conflict,
    /// A valid host of another server.
    #[error("this server does not serve the host that the request names")]
    NotOurs,
    /// The request line or `:scheme` names another scheme than the origin's (RFC 9110 §7.4).
    #[error("this server does not serve the scheme that the request names")]
    OtherScheme,
}

impl Origins {
    /// The origins served.
    ///
    /// # Errors
    ///
    /// [`BadOrigins`]: an empty list, or two origins with the same authority.
    pub fn new(origins: impl IntoIterator<Item = Origin>) -> Result<Self, BadOrigins> {
        let origins: Box<[Origin]> = origins.into_iter().collect();
        let mut seen = HashSet::new();
        let twice = origins.iter().find(|origin| {
            let names = HashSet::from(origin.names());
            let again = !seen.is_disjoint(&names);
            seen.extend(names);
            again
        });
        match twice {
            Some(twice) => Err(BadOrigins::Ambiguous(twice.authority.clone())),
            None if origins.is_empty() => Err(BadOrigins::Empty),
            None => Ok(Self(origins)),
        }
    }

    /// The origin of a request, from the request line or `:authority` and from the `Host` field, which must agree. A
    /// scheme in the request line or in `:scheme` has to match the origin's; `http` passes for an `https` origin, since a
    /// proxy may have ended TLS.
    ///
    /// # Errors
    ///
    /// [`Misdirected`].
    pub fn resolve(&self, uri: &Uri, headers: &HeaderMap) -> Result<&Origin, Misdirected> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Misdirected::TwoHosts);
        }
        let host = host.map(|host| host.to_str().map_err(|_| Misdirected::BadHost)).transpose()?;
        let scheme = uri.scheme_str();
        if scheme.is_some_and(|scheme| scheme.to_ascii_lowercase().parse::<Scheme>().is_err()) {
            return Err(Misdirected::OtherScheme);
        }
        let line = uri.authority().map(|authority| authority.as_str());
        let found = match (line, host) {
            (None, None) => return Err(Misdirected::NoHost),
            (Some(one), None) | (None, Some(one)) => self.find(one)?,
            (Some(line), Some(host)) => {
                let (by_line, by_host) = (self.find(line)?, self.find(host)?);
                let same = match (by_line, by_host) {
                    (None, None) => HostPort::parse(line) == HostPort::parse(host),
                    (by_line, by_host) => by_line == by_host,
                };
                if !same {
                    return Err(Misdirected::Conflict);
                }
                by_line
            }
        };
        let origin = found.ok_or(Misdirected::NotOurs)?;
        if origin.is_under(scheme) { Ok(origin) } else { Err(Misdirected::OtherScheme) }
    }

    /// The origin of a host with an optional port, from any place in a request.
    ///
    /// # Errors
    ///
    /// [`Misdirected::BadHost`].
    pub fn find(&self, host: &str) -> Result<Option<&Origin>, Misdirected> {
        // As nearly every client writes it.
        if let Some(origin) = self.0.iter().find(|origin| origin.authority() == host) {
            return Ok(Some(origin));
        }
        let named = HostPort::parse(host).ok_or(Misdirected::BadHost)?;
        Ok(self.0.iter().find(|origin| origin.is_meant_by(named)))
    }

    /// The origins, in their original order.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }
}

impl From<Origin> for Origins {
    fn from(origin: Origin) -> Self {
        Self(Box::new([origin]))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct HostPort<'t> {
    host: Host<'t>,
    port: Option<u16>,
}

/// A name, or an IPv6 address, which has many spellings.
#[derive(Clone, Copy)]
enum Host<'t> {
    /// Also an IPv4 address.
    Name(&'t str),
    Ipv6(Ipv6Addr),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::Ipv6(one), Self::Ipv6(other)) => one == other,
            (Self::Name(_), Self::Ipv6(_)) | (Self::Ipv6(_), Self::Name(_)) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    /// In lower case; an IPv6 address as RFC 5952 has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.to_ascii_lowercase()),
            Self::Ipv6(address) => write!(f, "[{address}]"),
        }
    }
}

impl<'t> HostPort<'t> {
    /// RFC 9110 §7.2: `uri-host [ ":" port ]`. Registered names are letters, digits, `-`, `.` and `_`; percent-encoded
    /// and international names are refused.
    fn parse(text: &'t str) -> Option<Self> {
        let (host, port) = if text.starts_with('[') {
            let (address, rest) = text.strip_prefix('[')?.split_once(']')?;
            let host = Host::Ipv6(address.parse().ok()?);
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        } else {
            match text.split_once(':') {
                Some((host, port)) => (Host::Name(host), Some(port)),
                None => (Host::Name(text), None),
            }
        };
        let registered =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if let Host::Name(name) = host
            && (name.is_empty() || !name.bytes().all(registered))
        {
            return None;
        }
        let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some(port) => Some(Some(port).filter(digits)?.parse().ok()?),
            None => None,
        };
        Some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(uri: &'static str, hosts: &[&'static str]) -> Result<String, Misdirected> {
        let ours = [
            "https://example.com",
            "http://local.test:8080",
            "https://[0::0:1]",
            "https://[::ffff:7F00:1]",
        ];
        let origins = Origins::new(ours.map(|origin| origin.parse().unwrap())).unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        origins.resolve(&Uri::from_static(uri), &headers).map(Origin::to_string)
    }

    #[test]
    fn this_machine_is_told_from_every_other() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "localhost.test", "127.0.0.1.test", "10.0.0.1", "0.0.0.0", "[::2]", "[::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_host_field_and_the_request_line_name_one_of_our_origins() {
        let ours = "https://example.com";
        let accepted = [
            ("/", "example.com", ours),
            ("/", "EXAMPLE.com", ours),
            ("/", "example.com:443", ours),
            ("https://example.com/", "example.com", ours),
            ("https://example.com:443/", "EXAMPLE.COM", ours),
            ("http://example.com/", "example.com", ours), // a proxy may have ended TLS
            ("HTTPS://example.com/", "example.com", ours),
            ("http://local.test:8080/", "local.test:8080", "http://local.test:8080"),
            ("/", "[0:0:0:0:0:0:0:1]", "https://[::1]"),
            ("/", "[0::0001]:443", "https://[::1]"),
            ("https://[0:0::1]/", "[::1]", "https://[::1]"),
            ("/", "[::FFFF:127.0.0.1]", "https://[::ffff:127.0.0.1]"),
            ("/", "[::ffff:7f00:1]", "https://[::ffff:127.0.0.1]"),
            ("/", "local.test:8080", "http://local.test:8080"),
            ("/", "[::1]", "https://[::1]"),
            ("/", "[::1]:443", "https://[::1]"),
        ];
        for (uri, host, expected) in accepted {
            assert_eq!(resolve(uri, &[host]).as_deref(), Ok(expected), "{uri} {host}");
        }
        assert_eq!(resolve("https://example.com/", &[]).as_deref(), Ok(ours));
    }

    #[test]
    fn everything_else_is_refused_for_what_it_is() {
        use Misdirected::{BadHost, Conflict, NoHost, NotOurs, OtherScheme, TwoHosts};
        let refused: [(&str, &[&str], Misdirected); 27] = [
            ("/", &[], NoHost),
            ("/", &["example.com", "example.com"], TwoHosts),
            ("/", &["example.com", "evil.test"], TwoHosts),
            ("/", &[""], BadHost),
            ("/", &["example.com/x"], BadHost),
            ("/", &["example.com?x"], BadHost),
            ("/", &["user@example.com"], BadHost),
            ("/", &["example.com evil"], BadHost),
            ("/", &["example.com:"], BadHost),
            ("/", &["example.com:+443"], BadHost),
            ("/", &["example.com:99999"], BadHost),
            ("/", &["[::1"], BadHost),
            ("/", &["[::g]"], BadHost),
            ("/", &["::1"], BadHost),
            ("http://user@example.com/", &["example.com"], BadHost),
            ("https://evil.test/", &["example.com"], Conflict),
            ("https://example.com/", &["evil.test"], Conflict),
            ("https://one.test/", &["two.test"], Conflict),
            ("ftp://example.com/", &["example.com"], OtherScheme),
            ("ftp://local.test:8080/", &["local.test:8080"], OtherScheme),
            ("https://local.test:8080/", &["local.test:8080"], OtherScheme),
            ("https://local.test:8080/", &[], OtherScheme),
            ("/", &["[::2]"], NotOurs),
            ("https://[::2]/", &["[::1]"], Conflict),
            ("/", &["example.com:80"], NotOurs),
            ("/", &["example.com."], NotOurs),
            ("/", &["local.test"], NotOurs),
        ];
        for (uri, hosts, expected) in refused {
            assert_eq!(resolve(uri, hosts), Err(expected), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_list_of_origins_is_neither_empty_nor_ambiguous() {
        assert_eq!(Origins::new([]).unwrap_err(), BadOrigins::Empty);
        let twice = ["http://a.test", "https://A.test"].map(|origin| origin.parse().unwrap());
        assert_eq!(Origins::new(twice).unwrap_err(), BadOrigins::Ambiguous("a.test".into()));
        let alike = ["https://a.test", "http://a.test:443"].map(|origin| origin.parse().unwrap());
        assert_eq!(Origins::new(alike).unwrap_err(), BadOrigins::Ambiguous("a.test:443".into()));
        let spelled = ["https://[::1]", "https://[0:0::1]"].map(|origin| origin.parse().unwrap());
        assert_eq!(Origins::new(spelled).unwrap_err(), BadOrigins::Ambiguous("[::1]".into()));
        let apart = ["https://a.test", "http://a.test:8080", "https://a.test:8443"];
        assert!(Origins::new(apart.map(|origin| origin.parse().unwrap())).is_ok());
    }

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        let read = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
        assert_eq!(read("https://API.example.com:443").as_deref(), Ok("https://api.example.com"));
        assert_eq!(read("http://127.0.0.1:80").as_deref(), Ok("http://127.0.0.1"));
        assert_eq!(read("http://127.0.0.1:443").as_deref(), Ok("http://127.0.0.1:443"));
        assert_eq!(read("api.example.com"), Err(BadOrigin::Scheme));
        assert_eq!(read("ftp://api.example.com"), Err(BadOrigin::Scheme));
        assert_eq!(read("https://api.example.com/"), Err(BadOrigin::Authority));
        assert_eq!(read("https://"), Err(BadOrigin::Authority));
    }
}
