//! The fields in which an upstream reads from where a request came: one address, one host, one scheme, each as the verifier found
//! it. What a client or a proxy before wrote there is replaced.

use std::{fmt::Write as _, net::IpAddr, ops::Range, sync::LazyLock};

use bytes::Bytes;
use countersign::Origin;
use countersign_store::ClientAddress;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{FORWARDED, VIA},
};

use super::spelling::{begins_with, is_spelled, remove_fields};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The usual length of a `Forwarded` element.
const LENGTH: usize = 128;

/// The numbers of an IPv4 address as text.
static OCTETS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=u8::MAX).map(|octet| octet.to_string()).collect());

/// Replaces the forwarded fields, and adds this proxy to `Via`.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    client: Option<ClientAddress>,
    origin: Option<&Origin>,
    version: Version,
) {
    remove_fields(headers, |name| {
        begins_with(name, "x-forwarded")
            || is_spelled(name, "forwarded")
            || is_spelled(name, "x-real-ip")
    });
    let (mut element, mut address, mut host) = (String::with_capacity(LENGTH), 0..0, 0..0);
    if let Some(client) = client {
        let (before, after) = match client.ip() {
            IpAddr::V4(_) => ("for=", ""),
            IpAddr::V6(_) => ("for=\"[", "]\""),
        };
        element.push_str(before);
        address.start = element.len();
        push_address(&mut element, client.ip());
        address.end = element.len();
        element.push_str(after);
    }
    if let Some(origin) = origin {
        let (scheme, authority) = (origin.scheme().as_str(), origin.authority());
        element.push_str(if element.is_empty() { "host=\"" } else { ";host=\"" });
        host.start = element.len();
        element.push_str(authority);
        host.end = element.len();
        element.extend(["\";proto=", scheme]);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    // The values share the bytes of the element.
    let element = Bytes::from(element);
    let value = |range: Range<usize>| {
        HeaderValue::from_maybe_shared(element.slice(range)).ok().filter(|value| !value.is_empty())
    };
    if let Some(address) = value(address) {
        headers.insert(X_FORWARDED_FOR, address.clone());
        headers.insert(X_REAL_IP, address);
    }
    if let Some(host) = value(host) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Some(element) = value(0..element.len()) {
        headers.insert(FORWARDED, element);
    }
    let received = match version {
        Version::HTTP_2 => "2 countersign",
        Version::HTTP_10 => "1.0 countersign",
        _ => "1.1 countersign",
    };
    headers.append(VIA, HeaderValue::from_static(received));
}

fn push_address(text: &mut String, address: IpAddr) {
    match address {
        // The formatter takes a thousand instructions for an address.
        IpAddr::V4(address) => {
            let octets = address.octets().map(|octet| OCTETS.get(usize::from(octet)));
            for (place, octet) in octets.into_iter().flatten().enumerate() {
                text.push_str(if place == 0 { "" } else { "." });
                text.push_str(octet);
            }
        }
        // A String takes whatever is written to it.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_reads_one_client_one_host_and_one_scheme() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-forwarded-for", "x_forwarded_for", "forwarded", "x-real-ip", "x-forwarded-uri"]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        let client = ClientAddress::from("2001:db8::1".parse::<IpAddr>().unwrap());
        let origin: Origin = "https://api.example.com".parse().unwrap();
        set_forwarded(&mut headers, Some(client), Some(&origin), Version::HTTP_2);
        assert_eq!(headers.len(), 6);
        let expected = r#"for="[2001:db8::1]";host="api.example.com";proto=https"#;
        assert_eq!(headers[FORWARDED], expected);
        assert_eq!(headers[X_FORWARDED_FOR], "2001:db8::1");
        assert_eq!(headers[X_FORWARDED_HOST], "api.example.com");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        assert_eq!(headers[VIA], "2 countersign");
    }

    #[test]
    fn an_address_is_written_as_the_standard_library_writes_it() {
        for address in ["0.0.0.0", "127.0.0.1", "203.0.113.9", "255.255.255.255", "2001:db8::1"] {
            let mut text = String::new();
            push_address(&mut text, address.parse().unwrap());
            assert_eq!(text, address);
        }
    }
}
