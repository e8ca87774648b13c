use std::net::{IpAddr, Ipv4Addr};

use countersign::{Code, Origin, Origins};
use http::HeaderMap;
use ipnet::{IpNet, Ipv6Net};

use super::forwarded::{self, Element};

/// The trusted proxies in front of a server, and the fields in which they name a request's client.
///
/// Each proxy must write the address of its peer into the fields of [`ForwardedFields`]. `Forwarded` and
/// `X-Forwarded-For` are read from the end, only as far as listed proxies wrote them: text that a client wrote there is never
/// read. All lines of `X-Forwarded-Host` and `X-Forwarded-Proto` are read, and must agree. The fields of a peer that is not
/// listed are ignored.
///
/// ```
/// use countersign_server::{BadProxies, ForwardedFields, Proxies};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies = Proxies::new(["10.0.0.7/32".parse()?, "10.0.0.8/32".parse()?], ForwardedFields::XForwarded)?;
/// // A list that trusts everybody is refused.
/// let everybody = Proxies::new(["0.0.0.0/0".parse()?], ForwardedFields::XForwarded);
/// assert!(matches!(everybody, Err(BadProxies::Everyone(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Proxies {
    listed: Listed,
    fields: ForwardedFields,
}

#[derive(Clone, Debug)]
enum Listed {
    In(Box<[IpNet]>),
    /// Trusts every peer, and no proxy before it.
    AnyPeer,
}

/// The fields in which proxies name a request's client. Other fields are ignored, since a proxy that does not know them passes
/// the client's on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFields {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`. With [`Ingress::forwarded`](crate::Ingress::forwarded) also `X-Forwarded-Host` and
    /// `X-Forwarded-Proto`.
    XForwarded,
}

/// Why a proxy list is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadProxies {
    /// The list is empty.
    #[error(
        "no proxy is listed; name the addresses from which the proxies connect, like 10.0.0.7/32"
    )]
    Empty,
    /// A range is the whole Internet, so that every client could claim any address.
    #[error("{0} is every address; list the proxies, or use Proxies::insecure_any_peer")]
    Everyone(IpNet),
    /// An address has bits behind its prefix, so that it can mean the address or the range.
    #[error(
        "{0} is an address in a range; write {range} for the range, or {address} for the address",
        range = .0.trunc(),
        address = IpNet::from(.0.addr())
    )]
    HostBits(IpNet),
    /// A range has IPv4 addresses in IPv6 form. It would match nothing: such addresses are compared as IPv4.
    #[error("{0} holds IPv4 addresses written as IPv6; list them as IPv4")]
    Mapped(IpNet),
}

/// Why the fields of a listed proxy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadForwarded {
    #[error("the proxy in front of this server sent no {0}")]
    Missing(&'static str),
    #[error("the proxy in front of this server sent a {0} that cannot be used")]
    Malformed(&'static str),
    #[error("the proxies in front of this server name two different hosts")]
    Conflict,
    #[error("this server does not serve the host that the proxy in front of it names")]
    NotOurs,
    #[error("this server does not serve the scheme that the proxy in front of it names")]
    Scheme,
}

impl BadForwarded {
    pub(crate) const fn code(self) -> Code {
        match self {
            Self::NotOurs | Self::Scheme => Code::Misdirected,
            Self::Missing(_) | Self::Malformed(_) | Self::Conflict => Code::BadRequest,
        }
    }

    /// Returns the operator's fix, with the line for nginx.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::Missing(X_FORWARDED_FOR) | Self::Malformed(X_FORWARDED_FOR) => {
                "in nginx put `proxy_set_header X-Forwarded-For $remote_addr;` beside `proxy_pass`"
            }
            Self::Missing(X_FORWARDED_HOST)
            | Self::Malformed(X_FORWARDED_HOST)
            | Self::Conflict => {
                "in nginx put `proxy_set_header X-Forwarded-Host $host;` beside `proxy_pass`"
            }
            Self::Scheme | Self::Malformed(X_FORWARDED_PROTO) => {
                "in nginx put `proxy_set_header X-Forwarded-Proto $scheme;` beside `proxy_pass`, or `https` in place of `$scheme` \
                 if another proxy before it ends TLS"
            }
            Self::Missing(_) | Self::Malformed(_) => {
                "in nginx put `proxy_set_header Forwarded \"for=$remote_addr;host=$host;proto=$scheme\";` beside `proxy_pass`; an IPv6 \
                 address needs brackets and quotation marks there"
            }
            Self::NotOurs => {
                "add the origin to `Origins::new`, or have the proxy serve no other name: in nginx by `server_name`"
            }
        }
    }
}

const FORWARDED: &str = "Forwarded";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";

impl Proxies {
    /// Trusts the proxies that connect from these addresses, and the fields that they write.
    ///
    /// Every peer with one of these addresses is trusted: list proxies, and not networks with clients in them.
    ///
    /// # Errors
    ///
    /// [`BadProxies`].
    pub fn new(
        ranges: impl IntoIterator<Item = IpNet>,
        fields: ForwardedFields,
    ) -> Result<Self, BadProxies> {
        let ranges: Box<[IpNet]> = ranges.into_iter().collect();
        if ranges.is_empty() {
            return Err(BadProxies::Empty);
        }
        for &range in &ranges {
            if range.prefix_len() == 0 {
                return Err(BadProxies::Everyone(range));
            }
            if range.trunc() != range {
                return Err(BadProxies::HostBits(range));
            }
            if matches!(range, IpNet::V6(range) if overlaps_mapped(range)) {
                return Err(BadProxies::Mapped(range));
            }
        }
        Ok(Self { listed: Listed::In(ranges), fields })
    }

    /// Trusts every peer about the last address in its fields: for a single proxy of unknown address.
    ///
    /// Only for a server behind a firewall that lets only the proxy connect. Any other peer can claim any address.
    pub const fn insecure_any_peer(fields: ForwardedFields) -> Self {
        Self { listed: Listed::AnyPeer, fields }
    }

    /// Returns the address of the client: the peer's or, if the peer is a proxy, the address from the first proxy.
    pub(crate) fn client_address(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<IpAddr, BadForwarded> {
        if !self.believes(peer) {
            return Ok(peer.to_canonical());
        }
        match self.fields {
            ForwardedFields::Forwarded => Ok(self.client_element(headers)?.0),
            ForwardedFields::XForwarded => {
                let addresses = elements(headers, X_FORWARDED_FOR).map(|element| {
                    let address = std::str::from_utf8(element).ok().and_then(forwarded::address);
                    address.ok_or(BadForwarded::Malformed(X_FORWARDED_FOR))
                });
                self.first_unlisted(addresses, X_FORWARDED_FOR)
            }
        }
    }

    /// Returns the origin that the client named to the first proxy; `None` if the peer is not a proxy.
    pub(crate) fn origin<'o>(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        origins: &'o Origins,
    ) -> Result<Option<&'o Origin>, BadForwarded> {
        if !self.believes(peer) {
            return Ok(None);
        }
        let origin = match self.fields {
            ForwardedFields::Forwarded => {
                let (_, element) = self.client_element(headers)?;
                let host = element.host.ok_or(BadForwarded::Missing("Forwarded with a host"))?;
                let origin = find(origins, host, FORWARDED)?;
                element.proto.map_or(Ok(()), |proto| same_scheme(origin, proto))?;
                origin
            }
            ForwardedFields::XForwarded => {
                // All lines must agree, since a line does not tell which proxy wrote it.
                let mut hosts = texts(headers, X_FORWARDED_HOST);
                let host = hosts.next().ok_or(BadForwarded::Missing(X_FORWARDED_HOST))??;
                let origin = find(origins, host, X_FORWARDED_HOST)?;
                for host in hosts {
                    if find(origins, host?, X_FORWARDED_HOST) != Ok(origin) {
                        return Err(BadForwarded::Conflict);
                    }
                }
                for proto in texts(headers, X_FORWARDED_PROTO) {
                    same_scheme(origin, proto?)?;
                }
                origin
            }
        };
        Ok(Some(origin))
    }

    fn believes(&self, peer: IpAddr) -> bool {
        matches!(self.listed, Listed::AnyPeer) || self.lists(peer.to_canonical())
    }

    fn lists(&self, address: IpAddr) -> bool {
        match &self.listed {
            Listed::In(ranges) => ranges.iter().any(|range| range.contains(&address)),
            Listed::AnyPeer => false,
        }
    }

    /// Returns the first proxy's element of `Forwarded`, and the address in it.
    fn client_element<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> Result<(IpAddr, Element<'h>), BadForwarded> {
        let mut last = Element::default();
        let addresses = quoted_elements(headers, FORWARDED).map(|element| {
            last = Element::parse(element).ok_or(BadForwarded::Malformed(FORWARDED))?;
            let node = last.node.ok_or(BadForwarded::Missing("Forwarded with a for"))?;
            forwarded::node_address(node).ok_or(BadForwarded::Malformed(FORWARDED))
        });
        let address = self.first_unlisted(addresses, FORWARDED)?;
        Ok((address, last))
    }

    /// Returns the first address, from the end, that is not a listed proxy's. The addresses before it are not read, since no
    /// listed proxy wrote them. If all addresses are listed, the first in the field is the client: a proxy that sends a request
    /// of its own.
    fn first_unlisted(
        &self,
        addresses: impl Iterator<Item = Result<IpAddr, BadForwarded>>,
        field: &'static str,
    ) -> Result<IpAddr, BadForwarded> {
        let mut first = Err(BadForwarded::Missing(field));
        for address in addresses {
            let address = address?.to_canonical();
            first = Ok(address);
            if !self.lists(address) {
                break;
            }
        }
        first
    }
}

/// Whether a range has addresses of `::ffff:0:0/96`, which are IPv4 addresses.
fn overlaps_mapped(range: Ipv6Net) -> bool {
    let first = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    range.contains(&first) || range.network().to_ipv4_mapped().is_some()
}

fn find<'o>(
    origins: &'o Origins,
    host: &str,
    field: &'static str,
) -> Result<&'o Origin, BadForwarded> {
    let found = origins.find(host).map_err(|_| BadForwarded::Malformed(field))?;
    found.ok_or(BadForwarded::NotOurs)
}

fn same_scheme(origin: &Origin, proto: &str) -> Result<(), BadForwarded> {
    let same = origin.scheme().as_str().eq_ignore_ascii_case(proto);
    same.then_some(()).ok_or(BadForwarded::Scheme)
}

/// Returns the lines of a field, from the last to the first.
fn lines<'h>(headers: &'h HeaderMap, field: &str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    headers.get_all(field).iter().rev().map(|line| line.as_bytes())
}

/// Returns the elements of a list over all its lines, from the last to the first.
fn elements<'h>(headers: &'h HeaderMap, field: &str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    lines(headers, field).flat_map(|line| line.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii))
}

/// Returns the elements of a list with quoted strings, from the last to the first. A quoted comma does not end an element.
///
/// From the end, an escaped quotation mark looks like any other, so an element with an escaped mark is cut in the wrong place.
/// [`Element::parse`] refuses every element with a backslash.
fn quoted_elements<'h>(
    headers: &'h HeaderMap,
    field: &str,
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    lines(headers, field).flat_map(|line| {
        let mut quoted = false;
        let comma = move |&byte: &u8| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        };
        line.rsplit(comma).map(<[u8]>::trim_ascii)
    })
}

fn texts<'h>(
    headers: &'h HeaderMap,
    field: &'static str,
) -> impl Iterator<Item = Result<&'h str, BadForwarded>> {
    elements(headers, field)
        .map(move |text| std::str::from_utf8(text).map_err(|_| BadForwarded::Malformed(field)))
}

#[cfg(test)]
mod tests {
    use ForwardedFields::{Forwarded, XForwarded};
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.7";
    const CLIENT: &str = "192.0.2.1";
    const FOR: &str = "x-forwarded-for";

    fn proxies(fields: ForwardedFields) -> Proxies {
        let ranges = ["10.0.0.0/24", "2001:db8:1::/48"];
        Proxies::new(ranges.map(|range| range.parse().unwrap()), fields).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn client(fields: ForwardedFields, lines: &[(&str, &str)]) -> Result<IpAddr, BadForwarded> {
        proxies(fields).client_address(address(PROXY), &headers(lines))
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_proxys() {
        let cases: [&[&str]; 12] = [
            &["192.0.2.1"],
            &["192.0.2.1:4711"],
            &["::ffff:192.0.2.1"],
            &["192.0.2.1, 10.0.0.8"],
            &["192.0.2.1,10.0.0.8 , 10.0.0.9"],
            &["192.0.2.1, ::ffff:10.0.0.8"],
            &["192.0.2.1, [2001:db8:1::5]:80, 2001:db8:1::6"],
            &["192.0.2.1", "10.0.0.8", "10.0.0.9"],
            &["203.0.113.9, 192.0.2.1"],
            &["10.0.0.9, 192.0.2.1"],
            &["203.0.113.9", "192.0.2.1, 10.0.0.8"],
            &["unknown, , \"\u{e9}\", 192.0.2.1, 10.0.0.8"],
        ];
        for values in cases {
            let lines: Vec<_> = values.iter().map(|&value| (FOR, value)).collect();
            assert_eq!(client(XForwarded, &lines), Ok(address(CLIENT)), "{values:?}");
        }
        assert_eq!(client(XForwarded, &[(FOR, "2001:db8::1")]), Ok(address("2001:db8::1")));
        assert_eq!(client(XForwarded, &[(FOR, "[2001:db8::1]")]), Ok(address("2001:db8::1")));
        let own = client(XForwarded, &[(FOR, "10.0.0.8, 10.0.0.9")]);
        assert_eq!(own, Ok(address("10.0.0.8")), "a proxy that asks for itself");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let cases: [&[&str]; 12] = [
            &["for=192.0.2.1"],
            &["For=\"192.0.2.1\""],
            &["FOR=\"192.0.2.1:4711\""],
            &["for=\"192.0.2.1:_port\""],
            &["for=\"[::ffff:192.0.2.1]\""],
            &["by=_me;for=192.0.2.1;;proto=https;host=\"api.example.com:443\";"],
            &["for=192.0.2.1;note=\"a, b; for=1\""],
            &["for=192.0.2.1, for=10.0.0.8;by=unknown"],
            &["for=192.0.2.1", "for=\"[2001:db8:1::5]:80\""],
            &["for=203.0.113.9, for=192.0.2.1"],
            &["for=\", for=192.0.2.1"],
            &["for=\"\\\", x, for=192.0.2.1, for=10.0.0.8"],
        ];
        for values in cases {
            let lines: Vec<_> = values.iter().map(|&value| ("forwarded", value)).collect();
            assert_eq!(client(Forwarded, &lines), Ok(address(CLIENT)), "{values:?}");
        }
        let v6 = [("forwarded", "for=\"[2001:db8::1]\"")];
        assert_eq!(client(Forwarded, &v6), Ok(address("2001:db8::1")));
    }

    #[test]
    fn what_a_proxy_wrote_and_cannot_be_read_is_refused() {
        let malformed = [
            "",
            ",",
            "192.0.2.1,",
            "192.0.2.1, ",
            "unknown",
            "192.0.2.1, _hidden",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2",
            "0xc0.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:123456",
            "192.0.2.1:8o",
            "192.0.2.1 10.0.0.8",
            "[192.0.2.1]",
            "[2001:db8::1",
            "2001:db8::1]:80",
            "[2001:db8::1]80",
            "fe80::1%eth0",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "192.0.2.1;10.0.0.8",
            "\u{e9}",
        ];
        for value in malformed {
            let found = client(XForwarded, &[(FOR, value)]);
            assert_eq!(found, Err(BadForwarded::Malformed(X_FORWARDED_FOR)), "{value}");
            let behind = format!("{CLIENT}, {value}, 10.0.0.8");
            assert!(client(XForwarded, &[(FOR, &behind)]).is_err(), "{behind}");
        }
        let malformed = [
            "",
            "192.0.2.1",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "for=192.0.2.1:80",
            "for=[2001:db8::1]",
            "for=\"2001:db8::1\"",
            "for=\"[192.0.2.1]\"",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"192.0.2.1\"x",
            "for=\"192.0.2.\\1\"",
            "for=\"192.0.2.1:_\"",
            "for=\"192.0.2.1:_a/\"",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;For=192.0.2.1",
            "for=192.0.2.1;host=a;host=b",
            "for=192.0.2.1;by=a;by=b",
            "for=192.0.2.1; proto=https",
            "for = 192.0.2.1",
            "for=192.0.2.1;host=a:80",
            "for=192.0.2.1;=",
            "for=192.0.2.1;x",
            "for=192.0.2.1,",
            "for=192.0.2.1;note=\"\u{e9}\"",
            "for=192.0.2.1;note=\"a\\\", b\"",
        ];
        for value in malformed {
            let found = client(Forwarded, &[("forwarded", value)]);
            assert_eq!(found, Err(BadForwarded::Malformed(FORWARDED)), "{value}");
            let behind = format!("for={CLIENT}, {value}, for=10.0.0.8");
            assert!(client(Forwarded, &[("forwarded", &behind)]).is_err(), "{behind}");
        }
        let none: [(_, &[(&str, &str)], _); 5] = [
            (XForwarded, &[], BadForwarded::Missing(X_FORWARDED_FOR)),
            (XForwarded, &[("forwarded", "for=192.0.2.1")], BadForwarded::Missing(X_FORWARDED_FOR)),
            (Forwarded, &[(FOR, "192.0.2.1")], BadForwarded::Missing(FORWARDED)),
            (
                Forwarded,
                &[("forwarded", "proto=https")],
                BadForwarded::Missing("Forwarded with a for"),
            ),
            (Forwarded, &[("forwarded", ";")], BadForwarded::Missing("Forwarded with a for")),
        ];
        for (fields, lines, expected) in none {
            assert_eq!(client(fields, lines), Err(expected), "{lines:?}");
        }
    }

    #[test]
    fn the_forwarded_host_and_scheme_are_those_of_one_of_our_origins() {
        use BadForwarded::{Conflict, Malformed, Missing, NotOurs, Scheme};
        const HOST: &str = "x-forwarded-host";
        const PROTO: &str = "x-forwarded-proto";
        let (a, b) = ("https://a.test", "https://b.test:8443");
        let cases: [(_, &[(&str, &str)], _); 27] = [
            (XForwarded, &[(HOST, "a.test")], Ok(a)),
            (XForwarded, &[(HOST, "A.test:443"), (PROTO, "HTTPS")], Ok(a)),
            (XForwarded, &[(HOST, "b.test:8443")], Ok(b)),
            (XForwarded, &[(HOST, "a.test, a.test:443"), (HOST, "A.TEST")], Ok(a)),
            (XForwarded, &[(HOST, "a.test"), (PROTO, "https, https")], Ok(a)),
            (XForwarded, &[(HOST, "b.test:8443, a.test")], Err(Conflict)),
            (XForwarded, &[(HOST, "evil.test, a.test")], Err(Conflict)),
            (XForwarded, &[(HOST, "a.test"), (HOST, "b.test:8443")], Err(Conflict)),
            (XForwarded, &[(HOST, "b.test")], Err(NotOurs)),
            (XForwarded, &[(HOST, "a.test:80")], Err(NotOurs)),
            (XForwarded, &[(HOST, "a.test"), (PROTO, "http")], Err(Scheme)),
            (XForwarded, &[(HOST, "a.test"), (PROTO, "https, http")], Err(Scheme)),
            (XForwarded, &[(HOST, "a.test"), (PROTO, "")], Err(Scheme)),
            (XForwarded, &[(HOST, "")], Err(Malformed(X_FORWARDED_HOST))),
            (XForwarded, &[(HOST, "https://a.test")], Err(Malformed(X_FORWARDED_HOST))),
            (XForwarded, &[], Err(Missing(X_FORWARDED_HOST))),
            (
                XForwarded,
                &[("forwarded", "for=192.0.2.1;host=a.test")],
                Err(Missing(X_FORWARDED_HOST)),
            ),
            (Forwarded, &[("forwarded", "for=192.0.2.1;host=a.test")], Ok(a)),
            (Forwarded, &[("forwarded", "for=192.0.2.1;proto=https;host=\"b.test:8443\"")], Ok(b)),
            // The host that the client named to the first of our proxies counts.
            (
                Forwarded,
                &[(
                    "forwarded",
                    "host=b.test;for=1.2.3.4, for=192.0.2.1;host=a.test, for=10.0.0.8;host=inner;proto=http",
                )],
                Ok(a),
            ),
            (Forwarded, &[("forwarded", "for=192.0.2.1;host=a.test;proto=http")], Err(Scheme)),
            (Forwarded, &[("forwarded", "for=192.0.2.1;host=evil.test")], Err(NotOurs)),
            (Forwarded, &[("forwarded", "for=192.0.2.1;host=\"\"")], Err(Malformed(FORWARDED))),
            (Forwarded, &[("forwarded", "for=192.0.2.1")], Err(Missing("Forwarded with a host"))),
            (
                Forwarded,
                &[("forwarded", "host=a.test, for=192.0.2.1")],
                Err(Missing("Forwarded with a host")),
            ),
            (Forwarded, &[("forwarded", "for=10.0.0.8;host=a.test")], Ok(a)),
            (Forwarded, &[(HOST, "a.test"), (FOR, "192.0.2.1")], Err(Missing(FORWARDED))),
        ];
        let origins = Origins::new([a, b].map(|origin| origin.parse().unwrap())).unwrap();
        for (fields, lines, expected) in cases {
            let headers = headers(lines);
            let found = proxies(fields).origin(address(PROXY), &headers, &origins);
            let named = found.map(|origin| origin.map(Origin::to_string));
            assert_eq!(named, expected.map(|origin| Some(origin.to_owned())), "{lines:?}");
            let direct = proxies(fields).origin(address(CLIENT), &headers, &origins);
            assert_eq!(direct, Ok(None), "{lines:?}");
        }
    }

    #[test]
    fn a_list_of_proxies_is_one() {
        let new = |ranges: &[&str]| {
            let ranges = ranges.iter().map(|range| range.parse().unwrap());
            Proxies::new(ranges, XForwarded).map(|_| ()).map_err(|bad| bad.to_string())
        };
        assert_eq!(new(&["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32"]), Ok(()));
        let refused = [
            (
                vec![],
                "no proxy is listed; name the addresses from which the proxies connect, like 10.0.0.7/32",
            ),
            (
                vec!["10.0.0.0/8", "0.0.0.0/0"],
                "0.0.0.0/0 is every address; list the proxies, or use Proxies::insecure_any_peer",
            ),
            (
                vec!["::/0"],
                "::/0 is every address; list the proxies, or use Proxies::insecure_any_peer",
            ),
            (
                vec!["10.0.0.7/8"],
                "10.0.0.7/8 is an address in a range; write 10.0.0.0/8 for the range, or 10.0.0.7/32 for the address",
            ),
            (
                vec!["::ffff:10.0.0.0/104"],
                "::ffff:10.0.0.0/104 holds IPv4 addresses written as IPv6; list them as IPv4",
            ),
            (vec!["::/64"], "::/64 holds IPv4 addresses written as IPv6; list them as IPv4"),
        ];
        for (ranges, expected) in refused {
            assert_eq!(new(&ranges), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_peer_that_is_believed_unseen_is_so_for_the_last_address_alone() {
        let proxies = Proxies::insecure_any_peer(XForwarded);
        let found = |value| proxies.client_address(address(CLIENT), &headers(&[(FOR, value)]));
        assert_eq!(found("203.0.113.9, 10.0.0.8"), Ok(address("10.0.0.8")));
        assert_eq!(found("unknown"), Err(BadForwarded::Malformed(X_FORWARDED_FOR)));
    }

    /// Lines that a client can send before the text that its proxy adds, in the same line or in others.
    fn forged() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            "[ -~\t\u{80}-\u{ff}]{0,20}".prop_map(String::into_bytes),
            "(for=)?\"?(10\\.0\\.0\\.[0-9]{1,3}|192\\.0\\.2\\.[0-9]{1,3}|unknown|_x)\"?(;host=\"?b\\.test\"?)?, ?"
                .prop_map(String::into_bytes),
            "[\",;=\\\\ ]{1,4}".prop_map(String::into_bytes),
        ];
        let line = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
        prop::collection::vec(line, 0..4)
    }

    fn with_forged(
        name: &str,
        mut forged: Vec<Vec<u8>>,
        added: &str,
        same_line: bool,
    ) -> HeaderMap {
        match forged.last_mut().filter(|_| same_line) {
            Some(last) => last.extend(format!(", {added}").into_bytes()),
            None => forged.push(added.into()),
        }
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let lines = forged.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, line);
        }
        headers
    }

    proptest! {
        #[test]
        fn what_a_client_writes_before_its_proxy_never_changes_the_answer(
            forged in forged(),
            last: u8,
            hops in 0..3u8,
            same_line: bool,
        ) {
            let client = format!("203.0.113.{last}");
            let hops: Vec<_> = (0..hops).map(|hop| format!("10.0.0.{hop}")).collect();
            let added = [std::slice::from_ref(&client), &hops].concat().join(", ");
            let headers = with_forged(FOR, forged.clone(), &added, same_line);
            let found = proxies(XForwarded).client_address(address(PROXY), &headers);
            prop_assert_eq!(found, Ok(address(&client)));

            let first = format!("for=\"{client}:80\";host=a.test;by=\"_x\"");
            let hops = hops.iter().map(|hop| format!("for={hop};host=\"inner:80\""));
            let added = [first].into_iter().chain(hops).collect::<Vec<_>>().join(", ");
            let headers = with_forged("forwarded", forged, &added, same_line);
            let found = proxies(Forwarded).client_address(address(PROXY), &headers);
            prop_assert_eq!(found, Ok(address(&client)));
            let origins = ["https://a.test", "https://b.test"].map(|origin| origin.parse().unwrap());
            let origins = Origins::new(origins).unwrap();
            let found = proxies(Forwarded).origin(address(PROXY), &headers, &origins);
            prop_assert_eq!(found.unwrap().unwrap().authority(), "a.test");
        }

        #[test]
        fn nothing_is_read_of_a_peer_that_is_not_listed(forged in forged(), last: u8, v6: bool) {
            let peer = if v6 { format!("2001:db8:2::{last:x}") } else { format!("10.0.1.{last}") };
            let peer = address(&peer);
            let origins = Origins::from("https://b.test".parse::<Origin>().unwrap());
            for (fields, name) in
                [(XForwarded, FOR), (XForwarded, "x-forwarded-host"), (Forwarded, "forwarded")]
            {
                let headers = with_forged(name, forged.clone(), "for=10.0.0.8", false);
                prop_assert_eq!(proxies(fields).client_address(peer, &headers), Ok(peer));
                prop_assert_eq!(proxies(fields).origin(peer, &headers, &origins), Ok(None));
            }
        }
    }
}
