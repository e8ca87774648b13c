pub(crate) mod body;
pub(crate) mod coverage;
pub(crate) mod header_line;
pub(crate) mod url;

use countersign::{
    BadTarget, CONTENT_DIGEST, ContentDigest, Origin, RequestHead, SIGNATURE, SIGNATURE_INPUT,
    SignError, SignatureFields, SignedFields, Target, with_reasons,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::{
    failure::Failure,
    request::{
        body::Body,
        header_line::HeaderLine,
        url::{Url, check_characters},
    },
};

/// Longest path and query that servers accept, in bytes.
const MAX_TARGET: usize = 8 * 1024;

/// A request to sign.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) origin: Origin,
    /// Path and query.
    pub(crate) uri: Uri,
    /// All header lines except `Host`.
    pub(crate) lines: Vec<HeaderLine>,
    pub(crate) body: Option<Body>,
}

impl Request {
    /// Makes a request. A `Host` among `lines` sets the origin, as it does for the server.
    pub(crate) fn new(
        method: &str,
        url: Url,
        lines: Vec<HeaderLine>,
        body: Option<Body>,
    ) -> Result<Self, Failure> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
            Failure::local(format!("`{method}` is not a method"), "a method is a word like POST")
        })?;
        let Url { mut origin, path_and_query } = url;
        if path_and_query.len() > MAX_TARGET {
            return Err(Failure::local(
                "the URL is too long: servers take 8 KiB of path and query",
                "send less in the query, or send it as content",
            ));
        }
        check_characters(&path_and_query)?;
        let uri: Uri = path_and_query.parse().map_err(|_| {
            Failure::local(
                "the URL has a character that a URL cannot have",
                "percent-encode it: a space is %20",
            )
        })?;
        let (hosts, lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.is(&header::HOST));
        if let Some(host) = hosts.last() {
            let HeaderLine::Field { value, .. } = host else {
                return Err(Failure::local(
                    "a request without Host cannot be signed",
                    "leave out -H 'Host:'",
                ));
            };
            let named = value.to_str().ok();
            let named = named.and_then(|host| Origin::new(origin.scheme(), host).ok());
            let (Some(named), 1) = (named, hosts.len()) else {
                return Err(Failure::local(
                    "the Host header is not one host with an optional port",
                    "leave it out; the URL names the host",
                ));
            };
            origin = named;
        }
        let reserved = [SIGNATURE, SIGNATURE_INPUT, header::CONTENT_LENGTH];
        let given = |name: &&HeaderName| lines.iter().any(|line| line.is(name));
        if let Some(name) = reserved.iter().find(given) {
            return Err(Failure::local(
                format!("the header {name} is made by this command"),
                format!("leave out -H '{name}: …'"),
            ));
        }
        Ok(Self { method, origin, uri, lines, body })
    }

    /// Returns the header fields, without `Host`.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in &self.lines {
            if let HeaderLine::Field { name, value } = line
                && let Ok(name) = name.parse::<HeaderName>()
            {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// Returns the head to sign, with these headers: [`Request::headers`] and the fields added since.
    pub(crate) fn head<'a>(&'a self, headers: &'a HeaderMap) -> RequestHead<'a> {
        RequestHead {
            method: &self.method,
            target: Target::origin_form(&self.uri),
            origin: &self.origin,
            headers,
        }
    }

    /// Returns the digest to sign: the digest in a `Content-Digest` among these headers, or SHA-256. `None` without
    /// content.
    pub(crate) fn digest(&self, headers: &HeaderMap) -> Result<Option<ContentDigest>, Failure> {
        let Some(body) = self.body.as_ref().filter(|body| body.length() > 0) else {
            return Ok(None);
        };
        match headers.contains_key(CONTENT_DIGEST) {
            true => self.check_digest(headers).map(Some),
            false => Ok(Some(*body.digest())),
        }
    }

    /// Returns the digest in the `Content-Digest` among these headers. It has to match the content.
    pub(crate) fn check_digest(&self, headers: &HeaderMap) -> Result<ContentDigest, Failure> {
        let wrong = || cannot_sign(&SignError::ContentDigest);
        let given = ContentDigest::from_headers(headers).ok().flatten().ok_or_else(wrong)?;
        let matches = match &self.body {
            Some(body) => body.matches(given)?,
            None => given.check().finish().is_ok(),
        };
        if matches { Ok(given) } else { Err(wrong()) }
    }

    /// Returns the SHA-256 digest of the content, which may be empty.
    pub(crate) fn made_digest(&self) -> ContentDigest {
        self.body.as_ref().map_or_else(|| ContentDigest::sha256(&[]), |body| *body.digest())
    }
}

/// Returns the fields that signing adds, in the order of sending.
pub(crate) fn added_fields(
    content_digest: Option<HeaderValue>,
    signature: SignatureFields,
) -> Vec<(&'static str, HeaderValue)> {
    let digest = content_digest.map(|value| ("Content-Digest", value));
    let SignatureFields { input, signature, .. } = signature;
    digest.into_iter().chain([("Signature-Input", input), ("Signature", signature)]).collect()
}

/// Returns the fields of [`SignedFields`], in the order of sending.
pub(crate) fn signed_fields(signed: SignedFields) -> Vec<(&'static str, HeaderValue)> {
    added_fields(signed.content_digest, signed.signature)
}

/// The flags that make curl send a target unchanged and ignore the header fields of ~/.curlrc.
pub(crate) const CURL_FLAGS: [&str; 3] = ["-q", "--path-as-is", "--globoff"];

/// Returns the failure for HEAD with content: curl reads no content of a response to HEAD, and sends none.
pub(crate) fn head_with_content() -> Failure {
    Failure::local(
        "a HEAD request with content cannot be sent by curl",
        "leave out the content, or use another method",
    )
}

/// Returns why a request could not be signed, and how to change it.
pub(crate) fn cannot_sign(error: &SignError) -> Failure {
    let hint = match error {
        SignError::Target(BadTarget::EmptyQuery) => "leave out the ?, which has no query behind it",
        SignError::Target(BadTarget::EmptySegment) => {
            "write one slash where several follow each other"
        }
        SignError::Target(_) => {
            "change the URL: programs read such a target differently, so servers refuse it"
        }
        SignError::ContentDigest => "leave the Content-Digest header out; it is made for you",
        SignError::RepeatedField(_) => "give that header once",
        SignError::Base(_) => "change that header, or leave it out",
        _ => "see --help",
    };
    Failure::local(with_reasons(error), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_written_otherwise_is_told_with_its_spelling() {
        let table = [
            ("https://example.com/100%", "write a percent sign as %25"),
            ("https://example.com/?q=5%&x", "write a percent sign as %25"),
            ("https://example.com/%zz", "write a percent sign as %25"),
            ("https://example.com/ü", "write it as %C3%BC"),
            ("https://example.com/?q=😀", "write it as %F0%9F%98%80"),
            ("https://example.com/a b", "write it as %20"),
            ("https://example.com/a\tb", "leave it out, or write it as %09"),
            ("https://bücher.example/a", "write its host in ASCII: xn--bcher-kva.example"),
            ("https://BÜCHER.example:8443", "write its host in ASCII: xn--bcher-kva.example:8443"),
            ("https://bü_cher .example/a", "its host is a name or an address"),
        ];
        for (text, hint) in table {
            let request =
                Url::parse(text).and_then(|url| Request::new("GET", url, Vec::new(), None));
            let failure = request.unwrap_err().to_string();
            assert!(failure.contains(&format!("hint: {hint}")), "{text}: {failure}");
        }
        for text in ["https://example.com/%25?q=%C3%BC", "https://xn--bcher-kva.example/"] {
            Request::new("GET", Url::parse(text).unwrap(), Vec::new(), None).unwrap();
        }
    }

    fn request(lines: &[&str]) -> Result<Request, Failure> {
        let lines = lines.iter().map(|line| HeaderLine::parse(line).unwrap()).collect();
        Request::new("GET", Url::parse("https://example.com/").unwrap(), lines, None)
    }

    #[test]
    fn a_host_header_says_whom_the_request_is_for() {
        let request_to = |lines| request(lines).map(|request| request.origin.to_string());
        assert_eq!(request_to(&["host: Other.example:443"]).unwrap(), "https://other.example");
        assert_eq!(request_to(&[]).unwrap(), "https://example.com");
        for refused in [&["Host:"][..], &["Host: a/b"], &["Host: a", "Host: b"]] {
            assert!(request_to(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_url_that_no_server_takes_is_called_too_long() {
        for length in [9_000, 100_000] {
            let url = format!("https://example.com/?{}", "a".repeat(length));
            let request = Request::new("GET", Url::parse(&url).unwrap(), Vec::new(), None);
            assert!(request.unwrap_err().to_string().contains("too long"), "{length}");
        }
    }

    #[test]
    fn headers_that_signing_makes_cannot_be_given() {
        assert!(request(&["Content-Type: a/b"]).is_ok());
        for line in ["Signature: sig=:AA==:", "signature-input: sig=()", "Content-Length: 3"] {
            assert!(request(&[line]).is_err(), "{line}");
        }
    }
}
