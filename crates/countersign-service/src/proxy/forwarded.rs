//! The fields in which an upstream reads from where a request came: one address, one host, one scheme, each as the verifier found
//! it. What a client or a proxy before wrote there is replaced.

use std::net::IpAddr;

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
    let mut insert = |name, text: &str| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    let mut element = String::new();
    if let Some(client) = client {
        let address = client.to_string();
        insert(X_FORWARDED_FOR, &address);
        insert(X_REAL_IP, &address);
        element = match client.ip() {
            IpAddr::V4(_) => format!("for={address}"),
            IpAddr::V6(_) => format!("for=\"[{address}]\""),
        };
    }
    if let Some(origin) = origin {
        let (scheme, authority) = (origin.scheme().as_str(), origin.authority());
        insert(X_FORWARDED_HOST, authority);
        insert(X_FORWARDED_PROTO, scheme);
        let separator = if element.is_empty() { "" } else { ";" };
        element.push_str(&format!("{separator}host=\"{authority}\";proto={scheme}"));
    }
    if !element.is_empty() {
        insert(FORWARDED, &element);
    }
    let received = match version {
        Version::HTTP_2 => "2 countersign",
        Version::HTTP_10 => "1.0 countersign",
        _ => "1.1 countersign",
    };
    headers.append(VIA, HeaderValue::from_static(received));
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
}
