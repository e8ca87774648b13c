use countersign::{Origin, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use crate::failure::Failure;

const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 128;

/// A message as a file holds it.
#[derive(Debug)]
pub(super) struct MessageFile {
    pub(super) start: Start,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Start {
    Request { method: Method, uri: Uri, version: Version },
    Response { status: StatusCode },
}

impl MessageFile {
    /// Reads a raw HTTP/1.x message, with CRLF or LF at the ends of its lines.
    pub(super) fn parse(content: &[u8]) -> Result<Self, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        // What is longer is not looked at: a head without an end is refused by its size.
        let bounded = content.get(..MAX_HEAD).unwrap_or(content);
        let (start, head_length, fields) = if content.starts_with(b"HTTP/") {
            let mut response = httparse::Response::new(&mut fields);
            let head_length = length(response.parse(bounded), content)?;
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or_else(|| unreadable("its status is no status"))?;
            (Start::Response { status }, head_length, &*response.headers)
        } else {
            let mut request = httparse::Request::new(&mut fields);
            let head_length = length(request.parse(bounded), content)?;
            let method = request.method.and_then(|name| Method::from_bytes(name.as_bytes()).ok());
            let method = method.ok_or_else(|| unreadable("its method is no method"))?;
            let uri = request.path.and_then(|path| path.parse().ok());
            let uri = uri.ok_or_else(|| unreadable("its target is no target"))?;
            let version =
                if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
            (Start::Request { method, uri, version }, head_length, &*request.headers)
        };
        let mut headers = HeaderMap::new();
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(unreadable("a header is malformed"));
            };
            headers.append(name, value);
        }
        let rest = content.get(head_length..).unwrap_or_default();
        let body = body(&headers, rest)?.to_vec();
        Ok(Self { start, headers, body })
    }

    /// The origin that a request names, by its target or its `Host`.
    pub(super) fn origin(&self, scheme: Scheme) -> Result<Origin, Failure> {
        let host = self.headers.get(header::HOST).map(HeaderValue::to_str);
        let named = match (&self.start, host) {
            (_, Some(Ok(host))) => host,
            (Start::Request { uri, .. }, _) if uri.authority().is_some() => {
                uri.authority().map_or("", |authority| authority.as_str())
            }
            _ => return Err(unreadable("it names no host")),
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
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

/// As many bytes as `Content-Length` says, or all that is left; line breaks that an editor added at the end are none
/// of it.
fn body<'c>(headers: &HeaderMap, rest: &'c [u8]) -> Result<&'c [u8], Failure> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(unreadable(
            "its content is transfer-encoded; save it decoded, without that header",
        ));
    }
    let line_breaks = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(if line_breaks(rest) { &[] } else { rest });
    };
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse::<usize>().ok());
    let (Some(length), None) = (length, lengths.next()) else {
        return Err(unreadable("its Content-Length is not one number"));
    };
    match rest.split_at_checked(length) {
        None => Err(unreadable("it has less content than its Content-Length says")),
        Some((content, after)) if line_breaks(after) => Ok(content),
        Some(_) => Err(unreadable("it has more content than its Content-Length says")),
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::local(
        format!("the message cannot be read: {why}"),
        "give it as HTTP/1.1 sends it: a request or status line, headers, an empty line, the content",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MessageFile, String> {
        MessageFile::parse(text.as_bytes()).map_err(|failure| failure.to_string())
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
            assert_eq!(message.body, b"c\nd");
            let text = "HTTP/1.1 404 Not Found|Content-Length: 2||ok|".replace('|', end);
            let message = read(&text).unwrap();
            assert!(matches!(message.start, Start::Response { status: StatusCode::NOT_FOUND }));
            assert_eq!(message.body, b"ok");
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
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer-encoded"),
            ("GET / HTTP/2\r\n\r\n", "version"),
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
            assert_eq!(message.body, expected.as_bytes());
        }
    }
}
