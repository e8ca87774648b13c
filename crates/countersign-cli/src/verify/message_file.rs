use countersign::{Content, Origin, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::chunked::{Chunked, LineEnd};
use crate::failure::Failure;

const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 128;
/// The limits of the HTTP library of a Countersign server.
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_FIELDS: usize = 100;

/// A message read from a file.
#[derive(Debug)]
pub(super) struct MessageFile {
    pub(super) start: Start,
    pub(super) headers: HeaderMap,
    pub(super) body: MessageBody,
}

#[derive(Debug)]
pub(super) enum Start {
    Request { method: Method, uri: Uri, version: Version },
    Response { status: StatusCode, version: Version },
}

/// The part of a message after its head.
#[derive(Debug)]
pub(super) struct MessageBody {
    /// Whether the head announces content, as a server reads it: chunks are content even if they are empty.
    pub(super) content: Content,
    pub(super) bytes: Vec<u8>,
    /// The trailer fields. Only chunked content has trailers.
    pub(super) trailers: HeaderMap,
    /// Whether the head gives no length, so that a server reads the content as the next request (RFC 9112 §6.3).
    pub(super) unframed: bool,
}

impl MessageFile {
    /// Reads a raw HTTP/1.x message, with CRLF or LF at the ends of its lines. For a response, `request_method` is the method
    /// of its request, if known. It decides whether the response can have content.
    pub(super) fn parse(message: &[u8], request_method: Option<&Method>) -> Result<Self, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        // A longer head is refused by its size, unread.
        let bounded = message.get(..MAX_HEAD).unwrap_or(message);
        let version = |minor| if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let (start, head_length, fields) = if message.starts_with(b"HTTP/") {
            let mut response = httparse::Response::new(&mut fields);
            let head_length = length(response.parse(bounded), message)?;
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or_else(|| unreadable("its status is invalid"))?;
            let version = version(response.version);
            (Start::Response { status, version }, head_length, &*response.headers)
        } else {
            let mut request = httparse::Request::new(&mut fields);
            let head_length = length(request.parse(bounded), message)?;
            let method = request.method.and_then(|name| Method::from_bytes(name.as_bytes()).ok());
            let method = method.ok_or_else(|| unreadable("its method is invalid"))?;
            let uri = request.path.and_then(|path| path.parse().ok());
            let uri = uri.ok_or_else(|| unreadable("its target is invalid"))?;
            let version = version(request.version);
            (Start::Request { method, uri, version }, head_length, &*request.headers)
        };
        let headers = header_map(fields).ok_or_else(|| unreadable("a header is malformed"))?;
        let split = message.split_at_checked(head_length);
        let (head, rest) = split.ok_or_else(|| unreadable("its head does not end"))?;
        let end = LineEnd::of(head).ok_or_else(|| unreadable("its lines do not all end alike"))?;
        let body = if start.ends_with_head(request_method) {
            MessageBody::none(rest)?
        } else if headers.contains_key(header::TRANSFER_ENCODING) {
            check_coding(&headers, start.version())?;
            MessageBody::chunked(rest, end)?
        } else {
            let is_request = matches!(start, Start::Request { .. });
            let unframed = is_request && !headers.contains_key(header::CONTENT_LENGTH);
            let body = MessageBody::of_length(&headers, rest)?;
            MessageBody { unframed: unframed && !body.bytes.is_empty(), ..body }
        };
        Ok(Self { start, headers, body })
    }

    /// Returns the origin of a target in absolute form, which takes precedence over `Host` (RFC 9112 §3.2.2).
    pub(super) fn target_origin(&self) -> Option<Result<Origin, Failure>> {
        let Start::Request { uri, .. } = &self.start else { return None };
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let scheme = scheme.to_ascii_lowercase().parse::<Scheme>();
        let origin = scheme.and_then(|scheme| Origin::new(scheme, authority.as_str()));
        Some(origin.map_err(|error| unreadable(&format!("its target names no origin: {error}"))))
    }

    /// Returns the origin of a request, from its `Host` or, without `Host`, from its target.
    pub(super) fn origin(&self, scheme: Scheme) -> Result<Origin, Failure> {
        let host = self.headers.get(header::HOST).map(HeaderValue::to_str);
        let named = match (&self.start, host) {
            (_, Some(Ok(host))) => host,
            (Start::Request { uri, .. }, _) if uri.authority().is_some() => {
                uri.authority().map_or("", |authority| authority.as_str())
            }
            _ => {
                return Err(unreadable("it names no host").with_hint(
                    "give it as HTTP/1.1 sends it, with a Host line: `Host: api.example.com`",
                ));
            }
        };
        Origin::new(scheme, named).map_err(|error| unreadable(&error.to_string()))
    }
}

fn length(parsed: httparse::Result<usize>, content: &[u8]) -> Result<usize, Failure> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Ok(length),
        Ok(httparse::Status::Partial) if content.len() > MAX_HEAD => {
            Err(unreadable("its head is longer than 64 KiB"))
        }
        Ok(httparse::Status::Partial) if content.is_empty() => Err(unreadable("it is empty")),
        Ok(httparse::Status::Partial) => {
            Err(unreadable("its head does not end with an empty line"))
        }
        Err(httparse::Error::TooManyHeaders) => {
            Err(unreadable(&format!("it has more than {MAX_FIELDS} header lines")))
        }
        Err(error) => Err(malformed(error, content)),
    }
}

/// Returns why a head cannot be read, and how to write it.
fn malformed(error: httparse::Error, message: &[u8]) -> Failure {
    if message.starts_with(b":") {
        return unreadable("it is written as HTTP/2 sends it").with_hint(
            "write `METHOD /path HTTP/1.1` and a Host line in the place of the fields that begin with a colon",
        );
    }
    match error {
        httparse::Error::Version => unreadable("its version is not HTTP/1.1").with_hint(
            "write HTTP/1.1 in its first line, and a Host line: no signature covers the version",
        ),
        httparse::Error::Token => {
            unreadable("its first line is not like `POST /v1/orders HTTP/1.1` or `HTTP/1.1 200 OK`")
        }
        httparse::Error::Status => unreadable("its status is invalid"),
        httparse::Error::HeaderName => unreadable("the name of a header is malformed"),
        httparse::Error::HeaderValue => unreadable("the value of a header is malformed"),
        other => unreadable(&other.to_string()),
    }
}

impl Start {
    const fn version(&self) -> Version {
        match self {
            Self::Request { version, .. } | Self::Response { version, .. } => *version,
        }
    }

    /// Whether the message ends with its head. Such a response has no content, even if its head gives a length (RFC
    /// 9112 §6.3).
    fn ends_with_head(&self, request_method: Option<&Method>) -> bool {
        let Self::Response { status, .. } = self else { return false };
        status.is_informational()
            || matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || request_method == Some(&Method::HEAD)
    }
}

impl MessageBody {
    fn none(rest: &[u8]) -> Result<Self, Failure> {
        if !are_line_breaks(rest) {
            return Err(unreadable(
                "a response with its status, or to HEAD, has no content, and something follows its head",
            ));
        }
        Ok(Self::from(&[][..]))
    }

    /// Reads as many bytes as `Content-Length` says, or all remaining bytes without it.
    fn of_length(headers: &HeaderMap, rest: &[u8]) -> Result<Self, Failure> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let Some(length) = lengths.next() else {
            return Ok(Self::from(if are_line_breaks(rest) { &[] } else { rest }));
        };
        let digits = length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse::<usize>().ok());
        let (Some(length), None) = (length, lengths.next()) else {
            return Err(unreadable("its Content-Length is not one number"));
        };
        match rest.split_at_checked(length) {
            None => Err(unreadable("it has less content than its Content-Length says")),
            Some((content, after)) if are_line_breaks(after) => Ok(Self::from(content)),
            Some(_) => Err(unreadable("it has more content than its Content-Length says")),
        }
    }

    fn chunked(rest: &[u8], end: LineEnd) -> Result<Self, Failure> {
        let chunked = Chunked::decode(rest, end).map_err(|bad| unreadable(&bad.to_string()))?;
        if !are_line_breaks(chunked.rest) {
            return Err(unreadable("something follows the end of its chunks"));
        }
        if chunked.trailers.len() > MAX_TRAILERS {
            return Err(unreadable("its trailers are longer than 16 KiB"));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let trailers = match httparse::parse_headers(chunked.trailers, &mut fields) {
            Ok(httparse::Status::Complete((_, fields))) => header_map(fields),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(unreadable(&format!("it has more than {MAX_TRAILER_FIELDS} trailers")));
            }
            _ => None,
        };
        let trailers = trailers.ok_or_else(|| unreadable("a trailer is malformed"))?;
        Ok(Self { content: Content::Present, bytes: chunked.content, trailers, unframed: false })
    }
}

impl From<&[u8]> for MessageBody {
    fn from(bytes: &[u8]) -> Self {
        let content = if bytes.is_empty() { Content::Absent } else { Content::Present };
        Self { content, bytes: bytes.to_vec(), trailers: HeaderMap::new(), unframed: false }
    }
}

/// Refuses every `Transfer-Encoding` but a single `chunked`, and a `Content-Length` beside it: implementations read
/// other messages in different ways (RFC 9112 §6.1 and §6.3).
fn check_coding(headers: &HeaderMap, version: Version) -> Result<(), Failure> {
    if version < Version::HTTP_11 {
        return Err(unreadable("it has a Transfer-Encoding, which HTTP/1.0 does not know"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(unreadable("it has both a Transfer-Encoding and a Content-Length"));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (_, Some(_)) => Err(unreadable("it has several Transfer-Encoding lines")),
        _ => Err(unreadable("its Transfer-Encoding is not chunked alone")),
    }
}

/// Returns the fields of these lines; `None` if a line is malformed.
fn header_map(fields: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(headers)
}

/// Whether these bytes are empty, or only line breaks that an editor added at the end.
fn are_line_breaks(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

fn unreadable(why: &str) -> Failure {
    Failure::local(
        format!("the message cannot be read: {why}"),
        "give it as HTTP/1.1 sends it: a request or status line, headers, an empty line, the content or its chunks",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MessageFile, String> {
        read_response(text, None)
    }

    fn read_response(text: &str, request_method: Option<&Method>) -> Result<MessageFile, String> {
        MessageFile::parse(text.as_bytes(), request_method).map_err(|failure| failure.to_string())
    }

    #[test]
    fn requests_and_responses_are_read_with_either_line_end() {
        for end in ["\r\n", "\n"] {
            let text =
                "POST /a?b HTTP/1.1|Host: example.com|X: 1|X: 2|||".replace('|', end) + "c\nd";
            let text = text.replacen(&format!("{end}{end}{end}"), &format!("{end}{end}"), 1);
            let message = read(&text).unwrap();
            let Start::Request { method, uri, .. } = &message.start else { panic!("a request") };
            assert_eq!((method, uri.to_string().as_str()), (&Method::POST, "/a?b"));
            assert_eq!(message.headers.get_all("x").iter().count(), 2);
            assert_eq!(message.body.bytes, b"c\nd");
            let text = "HTTP/1.1 404 Not Found|Content-Length: 2||ok|".replace('|', end);
            let message = read(&text).unwrap();
            assert!(matches!(message.start, Start::Response { status: StatusCode::NOT_FOUND, .. }));
            assert_eq!(message.body.bytes, b"ok");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(70_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(129));
        let table = [
            ("", "empty"),
            ("GET / HTTP/1.1\r\nHost: a\r\n", "empty line"),
            ("garbage", "empty line"),
            ("GET / HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n", "header"),
            ("GET / HTTP/1.1\r\nX : 1\r\n\r\n", "header"),
            ("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", "less content"),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nab", "more content"),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "one number"),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "one number"),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", "end alike"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", "end alike"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", "end alike"),
            ("GET / HTTP/2\r\n\r\n", "write HTTP/1.1 in its first line"),
            (":method: GET\n:path: /\n\n", "the fields that begin with a colon"),
            ("hello\n\n", "its first line is not like"),
            ("HTTP/1.1 99 X\r\n\r\n", "status"),
            (&long, "64 KiB"),
            (&many, "128 header lines"),
        ];
        for (text, expected) in table {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text:.60}: {error}");
        }
    }

    #[test]
    fn line_breaks_alone_are_no_content() {
        for (rest, expected) in [("\n", ""), ("\r\n\r\n", ""), ("a\n", "a\n"), ("", "")] {
            let message = read(&format!("GET / HTTP/1.1\n\n{rest}")).unwrap();
            assert_eq!(message.body.bytes, expected.as_bytes());
        }
    }

    #[test]
    fn content_in_chunks_is_read_with_its_trailers() {
        for (start, end) in [
            ("POST / HTTP/1.1", "\r\n"),
            ("POST / HTTP/1.1", "\n"),
            ("HTTP/1.1 200 OK", "\r\n"),
            ("HTTP/1.1 200 OK", "\n"),
        ] {
            for coding in ["chunked", "Chunked", " chunked\t"] {
                let text = format!("{start}|Transfer-Encoding:{coding}|A: head||2|ab|1;x|c|0|");
                let trailers = "A: one|a:  two |B:|||";
                let message = read(&(text.clone() + trailers).replace('|', end)).unwrap();
                assert_eq!(message.body.bytes, b"abc");
                let values: Vec<_> = message.body.trailers.get_all("a").iter().collect();
                assert_eq!(values, ["one", "two"]);
                assert_eq!(message.body.trailers["b"], "");
                assert_eq!(message.headers.get_all("a").iter().collect::<Vec<_>>(), ["head"]);
                let none = read(&(text + "|").replace('|', end)).unwrap();
                assert!(none.body.trailers.is_empty());
            }
        }
    }

    #[test]
    fn what_comes_in_chunks_is_content_even_if_it_is_empty() {
        let table = [
            ("Transfer-Encoding: chunked\n\n0\n\n", Content::Present),
            ("Content-Length: 0\n\n", Content::Absent),
            ("\n", Content::Absent),
            ("\na", Content::Present),
        ];
        for (rest, content) in table {
            assert_eq!(read(&format!("GET / HTTP/1.1\n{rest}")).unwrap().body.content, content);
        }
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_refused() {
        let many = format!("chunked\n\n0\n{}\n", "X: 1\n".repeat(101));
        let long = format!("chunked\n\n0\nX: {}\n\n", "a".repeat(16 * 1024));
        let table = [
            ("chunked\nContent-Length: 1\n\n1\na\n0\n\n", "both"),
            ("gzip, chunked\n\n0\n\n", "is not chunked alone"),
            ("chunked, gzip\n\n0\n\n", "is not chunked alone"),
            ("gzip\n\n0\n\n", "is not chunked alone"),
            ("identity\n\n0\n\n", "is not chunked alone"),
            ("chunked;q=1\n\n0\n\n", "is not chunked alone"),
            ("chunked,\n\n0\n\n", "is not chunked alone"),
            ("\"chunked\"\n\n0\n\n", "is not chunked alone"),
            ("xchunked\n\n0\n\n", "is not chunked alone"),
            ("\n\n0\n\n", "is not chunked alone"),
            ("chunked\nTransfer-Encoding: chunked\n\n0\n\n", "several"),
            ("gzip\nTransfer-Encoding: chunked\n\n0\n\n", "several"),
            ("chunked\n\n", "last chunk"),
            ("chunked\n\n1\na\n", "last chunk"),
            ("chunked\n\nz\n", "hexadecimal"),
            ("chunked\n\n0\r\n\r\n", "do not end as those of its head"),
            ("chunked\n\n0\n\nGET / HTTP/1.1\n\n", "something follows"),
            ("chunked\n\n0\n\n0\n\n", "something follows"),
            ("chunked\n\n0\nX: 1\n folded\n\n", "trailer is malformed"),
            ("chunked\n\n0\nX : 1\n\n", "trailer is malformed"),
            ("chunked\n\n0\n: 1\n\n", "trailer is malformed"),
            ("chunked\n\n0\nX\n\n", "trailer is malformed"),
            ("chunked\n\n0\nX: \0\n\n", "trailer is malformed"),
            (&many, "100 trailers"),
            (&long, "16 KiB"),
        ];
        for start in ["POST / HTTP/1.1", "HTTP/1.1 200 OK"] {
            for (rest, expected) in table {
                let error = read(&format!("{start}\nTransfer-Encoding: {rest}")).unwrap_err();
                assert!(error.contains(expected), "{rest:.60}: {error}");
            }
        }
        for start in ["POST / HTTP/1.0", "HTTP/1.0 200 OK"] {
            let text = format!("{start}\nTransfer-Encoding: chunked\n\n0\n\n");
            assert!(read(&text).unwrap_err().contains("HTTP/1.0"));
        }
        let most =
            format!("POST / HTTP/1.1\nTransfer-Encoding: {}", many.replacen("X: 1\n", "", 1));
        assert_eq!(read(&most).unwrap().body.trailers.len(), 100);
    }

    #[test]
    fn a_response_that_has_no_content_ends_with_its_head() {
        let lengths = ["Content-Length: 5", "Transfer-Encoding: chunked", "X: 1"];
        let head = Some(&Method::HEAD);
        for length in lengths {
            for (status, request_method) in [(100, None), (204, None), (304, None), (200, head)] {
                let text = format!("HTTP/1.1 {status} X\n{length}\n\n");
                let message = read_response(&text, request_method).unwrap();
                assert_eq!((message.body.content, message.body.bytes), (Content::Absent, vec![]));
                for more in ["hello", "0\n\n"] {
                    let error = read_response(&(text.clone() + more), request_method).unwrap_err();
                    assert!(error.contains("something follows its head"), "{error}");
                }
            }
        }
        for request_method in [None, Some(&Method::GET)] {
            for length in &lengths[..2] {
                let text = format!("HTTP/1.1 200 OK\n{length}\n\n");
                read_response(&text, request_method).unwrap_err();
            }
        }
        read_response("HEAD / HTTP/1.1\nContent-Length: 1\n\na", None).unwrap();
    }
}
