use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    request::Parts,
    uri::PathAndQuery,
};

use super::proxy_kind::ProxyKind;
use crate::proxy::{identity::is_reserved, spelling::begins_with};

const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The length and the transfer coding of a request with content that stays with the proxy.
const KEPT_LENGTH: HeaderName = HeaderName::from_static("countersign-content-length");
const KEPT_CODING: HeaderName = HeaderName::from_static("countersign-transfer-encoding");
/// The version of HTTP in which the proxy got the request. Over HTTP/2 content needs no announced length.
const PROTOCOL: HeaderName = HeaderName::from_static("countersign-protocol");
/// The proxy's own name for a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("countersign-request-id");

/// Whether nginx was told that the request is refused, and asks for the response to it.
const REFUSED: HeaderName = HeaderName::from_static("countersign-refused");

/// Whether Envoy passes a part of the content alone.
const PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// The subject of a proxy's question: the request, as its client sent it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) head: Parts,
    /// Whether the request has content outside of the question, and its announced length.
    pub(super) kept: Option<u64>,
    /// The proxy's own name for the request.
    pub(super) id: Option<HeaderValue>,
    /// Whether the proxy takes the answer for the response to its client, since the request is refused.
    pub(super) is_refused: bool,
}

/// Why a question cannot be answered: the proxy is set up in another way than the printed configuration does, or a client forged a
/// field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuestion {
    #[error("the proxy sent no {0}, or more than one")]
    Missing(&'static str),
    #[error("the proxy sent a {0} that cannot be used")]
    Malformed(&'static str),
    #[error("the request has a {0} that names another request than the proxy does")]
    Forged(&'static str),
    #[error("the request has a field that is spelled like one of the proxy's")]
    Misspelt,
    #[error("the request has a {0} that HTTP does not allow")]
    Unreadable(&'static str),
    #[error("the request has a target that is no path")]
    Target,
}

impl Question {
    /// Reads a question of this kind of proxy, asked over HTTP.
    pub(super) fn read(kind: ProxyKind, mut head: Parts) -> Result<Self, BadQuestion> {
        let (method, target, host) = match kind {
            ProxyKind::Nginx => {
                let method = only(&head.headers, &ORIGINAL_METHOD, "X-Original-Method")?;
                let target = only(&head.headers, &ORIGINAL_URI, "X-Original-URI")?;
                let host = only(&head.headers, &FORWARDED_HOST, "X-Forwarded-Host")?;
                (method, target, host)
            }
            ProxyKind::Caddy | ProxyKind::Traefik => {
                let method = only(&head.headers, &FORWARDED_METHOD, "X-Forwarded-Method")?;
                let target = only(&head.headers, &FORWARDED_URI, "X-Forwarded-Uri")?;
                let host = only(&head.headers, &FORWARDED_HOST, "X-Forwarded-Host")?;
                (method, target, host)
            }
            ProxyKind::Envoy => return Err(BadQuestion::Missing("question over gRPC")),
            ProxyKind::EnvoyHttp => {
                let method = HeaderValue::try_from(head.method.as_str());
                let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
                let target = HeaderValue::try_from(target);
                let host = match head.uri.authority() {
                    Some(authority) => HeaderValue::try_from(authority.as_str()),
                    None => Ok(only(&head.headers, &HOST, "Host")?),
                };
                let malformed = |_| BadQuestion::Malformed("request line");
                (method.map_err(malformed)?, target.map_err(malformed)?, host.map_err(malformed)?)
            }
        };
        refuse_forged(&head.headers, &method, &target)?;
        if !kind.removes_fields() {
            refuse_misspelt(&head.headers)?;
        }
        let is_refused = kind == ProxyKind::Nginx && head.headers.contains_key(REFUSED);
        let id = match kind.names_requests() {
            true => only(&head.headers, &REQUEST_ID, "Countersign-Request-Id").ok(),
            false => None,
        };
        let id = id.filter(names_one_request);
        head.method = read_method(method.as_bytes())?;
        let kept = match kind.passes_content() {
            true => is_partial(&head.headers).then_some(0),
            false => kept_content(&head.method, &head.headers)?,
        };
        head.uri = read_target(target.as_bytes())?;
        remove_told(&mut head.headers);
        for name in [KEPT_LENGTH, KEPT_CODING, PROTOCOL, REQUEST_ID, REFUSED] {
            head.headers.remove(name);
        }
        head.headers.insert(HOST, host);
        if !kind.passes_content() {
            head.headers.remove(CONTENT_LENGTH);
            head.headers.remove(TRANSFER_ENCODING);
        }
        Ok(Self { head, kept, id, is_refused })
    }
}

/// Whether an id is long enough to name a single request.
pub(super) fn names_one_request(id: &HeaderValue) -> bool {
    id.len() >= 16
}

pub(super) fn read_method(method: &[u8]) -> Result<Method, BadQuestion> {
    Method::from_bytes(method).map_err(|_| BadQuestion::Unreadable("method"))
}

/// Reads a target. It has no fragment: a fragment would be forwarded unverified.
pub(super) fn read_target(target: &[u8]) -> Result<Uri, BadQuestion> {
    let read = PathAndQuery::try_from(target).ok();
    let whole =
        |read: &PathAndQuery| read.as_str().as_bytes() == target && target.starts_with(b"/");
    read.filter(whole).map(Uri::from).ok_or(BadQuestion::Target)
}

/// Removes the fields that tell method, target, host and scheme: the question has told them.
pub(super) fn remove_told(headers: &mut HeaderMap) {
    let told = [
        ORIGINAL_METHOD,
        ORIGINAL_URI,
        FORWARDED_METHOD,
        FORWARDED_URI,
        FORWARDED_HOST,
        FORWARDED_PROTO,
    ];
    for name in told {
        headers.remove(name);
    }
}

/// Whether Envoy cut off the passed content.
pub(super) fn is_partial(headers: &HeaderMap) -> bool {
    headers.get_all(PARTIAL).iter().any(|value| value != "false")
}

/// Returns the only value of a field.
fn only(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<HeaderValue, BadQuestion> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value.clone()),
        _ => Err(BadQuestion::Missing(shown)),
    }
}

/// Refuses a field of another kind of proxy that names another request: the server behind the proxy could believe it.
pub(super) fn refuse_forged(
    headers: &HeaderMap,
    method: &HeaderValue,
    target: &HeaderValue,
) -> Result<(), BadQuestion> {
    let fields = [
        (ORIGINAL_METHOD, method, "X-Original-Method"),
        (FORWARDED_METHOD, method, "X-Forwarded-Method"),
        (ORIGINAL_URI, target, "X-Original-URI"),
        (FORWARDED_URI, target, "X-Forwarded-Uri"),
    ];
    for (name, told, shown) in fields {
        if headers.get_all(name).iter().any(|other| other != told) {
            return Err(BadQuestion::Forged(shown));
        }
    }
    Ok(())
}

/// Refuses a field that a gateway to programs (CGI, WSGI, PHP) reads as one that the proxy sets. These proxies replace fields by their
/// exact names alone.
fn refuse_misspelt(headers: &HeaderMap) -> Result<(), BadQuestion> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_misspelt = |name: &HeaderName| {
        let mut bytes = name.as_str().bytes();
        let starts = ["x-forwarded-", "x-original-", "x-rewrite-", "x-real-"];
        !bytes.all(is_plain)
            && (is_reserved(name) || starts.into_iter().any(|start| begins_with(name, start)))
    };
    match headers.keys().any(is_misspelt) {
        true => Err(BadQuestion::Misspelt),
        false => Ok(()),
    }
}

/// Returns the announced length of kept content; `None` without content.
///
/// A write over HTTP/2 without an announced length counts as a write with content. `DELETE` does not, since clients rarely announce
/// an empty content for it: the printed configuration forwards `DELETE` and reads without content.
fn kept_content(method: &Method, headers: &HeaderMap) -> Result<Option<u64>, BadQuestion> {
    let value = |name: &HeaderName| headers.get(name).filter(|value| !value.is_empty());
    if value(&KEPT_CODING).is_some() {
        return Ok(Some(0));
    }
    let protocol = only(headers, &PROTOCOL, "Countersign-Protocol")?;
    let Some(length) = value(&KEPT_LENGTH) else {
        let announces = protocol.as_bytes().starts_with(b"HTTP/1.");
        let writes = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        return Ok((writes && !announces).then_some(0));
    };
    let malformed = BadQuestion::Malformed("Countersign-Content-Length");
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    let length = length.to_str().ok().and_then(|length| length.parse().ok()).filter(|_| digits);
    match length.ok_or(malformed)? {
        0 => Ok(None),
        length => Ok(Some(length)),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(kind: ProxyKind, fields: &[(&'static str, &str)]) -> Result<Question, BadQuestion> {
        let mut request = Request::get("/v1/q?x=1").body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        let (head, ()) = request.into_parts();
        Question::read(kind, head)
    }

    const NGINX: [(&str, &str); 4] = [
        ("countersign-protocol", "HTTP/1.1"),
        ("x-original-method", "POST"),
        ("x-original-uri", "/a%2e?y"),
        ("x-forwarded-host", "a.test"),
    ];
    const CADDY: [(&str, &str); 4] = [
        ("countersign-protocol", "HTTP/1.1"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/a%2e?y"),
        ("x-forwarded-host", "a.test"),
    ];

    #[test]
    fn each_kind_has_fields_of_its_own() {
        for (kind, fields) in [
            (ProxyKind::Nginx, &NGINX[..]),
            (ProxyKind::Caddy, &CADDY),
            (ProxyKind::Traefik, &CADDY),
        ] {
            let question = ask(kind, fields).unwrap();
            assert_eq!(question.head.method, Method::POST);
            assert_eq!(question.head.uri, "/a%2e?y");
            assert_eq!(question.head.headers.len(), 1);
            assert_eq!(question.head.headers[HOST], "a.test");
        }
        let question = ask(ProxyKind::EnvoyHttp, &[("host", "a.test")]).unwrap();
        assert_eq!(
            (question.head.method, question.head.uri.to_string()),
            (Method::GET, "/v1/q?x=1".into())
        );
    }

    #[test]
    fn a_field_of_another_kind_is_refused_when_it_differs() {
        let with = |kind, fields: &[_], more| ask(kind, &[fields, &[more]].concat()).err();
        let forged = |shown| Some(BadQuestion::Forged(shown));
        assert_eq!(
            with(ProxyKind::Nginx, &NGINX, ("x-forwarded-uri", "/other")),
            forged("X-Forwarded-Uri")
        );
        assert_eq!(with(ProxyKind::Nginx, &NGINX, ("x-forwarded-uri", "/a%2e?y")), None);
        assert_eq!(
            with(ProxyKind::Caddy, &CADDY, ("x-original-method", "GET")),
            forged("X-Original-Method")
        );
        let envoy = [("host", "a.test")];
        assert_eq!(
            with(ProxyKind::EnvoyHttp, &envoy, ("x-original-uri", "/v1/q?x=2")),
            forged("X-Original-URI")
        );
        assert_eq!(
            with(ProxyKind::Nginx, &NGINX, ("x-original-uri", "/a%2e?y")),
            Some(BadQuestion::Missing("X-Original-URI"))
        );
        for missing in 0..4 {
            let mut fields = NGINX.to_vec();
            fields.remove(missing);
            assert!(ask(ProxyKind::Nginx, &fields).is_err());
        }
    }

    #[test]
    fn a_field_that_is_spelled_like_one_of_the_proxy_is_refused_unless_the_proxy_takes_it_out() {
        let with = |kind, fields: &[_], name| ask(kind, &[fields, &[(name, "x")]].concat()).err();
        for name in ["countersign_application", "countersign-scopes_", "x_forwarded_for"] {
            for (kind, fields) in [
                (ProxyKind::Nginx, &NGINX[..]),
                (ProxyKind::Caddy, &CADDY),
                (ProxyKind::Traefik, &CADDY),
            ] {
                assert_eq!(with(kind, fields, name), Some(BadQuestion::Misspelt), "{name}");
            }
            assert_eq!(with(ProxyKind::EnvoyHttp, &[("host", "a.test")], name), None);
        }
        for name in ["countersign-other", "x_tenant", "x-forwarded-for"] {
            assert_eq!(with(ProxyKind::Nginx, &NGINX, name), None, "{name}");
        }
    }

    #[test]
    fn content_that_the_proxy_keeps_is_told() {
        let kept = |name, value| ask(ProxyKind::Nginx, &[&NGINX[..], &[(name, value)]].concat());
        for (name, value, kept_length) in [
            ("countersign-content-length", "7", Some(7)),
            ("countersign-content-length", "0", None),
            ("countersign-content-length", "", None),
            ("countersign-transfer-encoding", "chunked", Some(0)),
        ] {
            assert_eq!(kept(name, value).unwrap().kept, kept_length, "{name}: {value}");
        }
        assert!(kept("countersign-content-length", "+7").is_err());
        let over_http2 = |method| {
            let fields = [("countersign-protocol", "HTTP/2.0"), ("x-original-method", method)];
            ask(ProxyKind::Nginx, &[&fields[..], &NGINX[2..]].concat()).unwrap().kept
        };
        assert_eq!((over_http2("POST"), over_http2("DELETE")), (Some(0), None));
    }

    #[test]
    fn only_a_proxy_that_sets_an_id_names_requests() {
        let id = ("countersign-request-id", "0123456789abcdef");
        let named = |kind, fields: &[_]| ask(kind, &[fields, &[id]].concat()).unwrap().id.is_some();
        assert!(named(ProxyKind::Nginx, &NGINX) && named(ProxyKind::Caddy, &CADDY));
        assert!(named(ProxyKind::EnvoyHttp, &[("host", "a.test")]));
        assert!(!named(ProxyKind::Traefik, &CADDY));
    }
}
