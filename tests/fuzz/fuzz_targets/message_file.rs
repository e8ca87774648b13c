//! A message in a file has one reading: written again in another way it is the same message, and one that is cut short or
//! has something behind its end is none.
#![no_main]
#![allow(dead_code, reason = "a target needs a part of what it includes")]

use http::{HeaderMap, Method, Version, header};
use libfuzzer_sys::fuzz_target;
use order::in_time;

#[path = "../../../crates/countersign-cli/src/verify/chunked.rs"]
mod chunked;
#[path = "../../../crates/countersign-cli/src/environment.rs"]
mod environment;
#[path = "../../../crates/countersign-cli/src/failure.rs"]
mod failure;
#[path = "../../../crates/countersign-cli/src/printable.rs"]
mod printable;
#[path = "../../../crates/countersign-cli/src/verify/message_file.rs"]
mod message_file;

use chunked::{Chunked, LineEnd};
use countersign::Content;
use message_file::{MessageFile, Start};

/// Lines of fields, and the empty one behind them.
fn fields(headers: &HeaderMap, end: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), end].concat());
    }
    text.extend(end);
    text
}

/// The message with these line ends, its chunks of this size.
fn written(message: &MessageFile, end: &[u8], size: usize) -> Vec<u8> {
    let minor = |version| if version == Version::HTTP_10 { "0" } else { "1" };
    let start = match &message.start {
        Start::Request { method, uri, version } => format!("{method} {uri} HTTP/1.{}", minor(*version)),
        Start::Response { status, version } => format!("HTTP/1.{} {}", minor(*version), status.as_str()),
    };
    let mut text = [start.as_bytes(), end, &fields(&message.headers, end)].concat();
    if !is_chunked(message) {
        text.extend(&message.body.bytes);
        return text;
    }
    for chunk in message.body.bytes.chunks(size) {
        text.extend([format!("{:X}", chunk.len()).as_bytes(), end, chunk, end].concat());
    }
    text.extend([&b"0"[..], end, &fields(&message.body.trailers, end)].concat());
    text
}

fn is_chunked(message: &MessageFile) -> bool {
    message.body.content == Content::Present && message.headers.contains_key(header::TRANSFER_ENCODING)
}

fn assert_same(message: &MessageFile, other: &MessageFile) {
    match (&message.start, &other.start) {
        (
            Start::Request { method, uri, version },
            Start::Request { method: other_method, uri: other_uri, version: other_version },
        ) => assert_eq!((method, uri, version), (other_method, other_uri, other_version)),
        (
            Start::Response { status, version },
            Start::Response { status: other_status, version: other_version },
        ) => assert_eq!((status, version), (other_status, other_version)),
        _ => panic!("a request is no response"),
    }
    assert_eq!(message.headers, other.headers);
    assert_eq!(message.body.content, other.body.content);
    assert_eq!(message.body.bytes, other.body.bytes);
    assert_eq!(message.body.trailers, other.body.trailers);
}

/// The content by httparse's reading of the sizes, which is that of HTTP libraries.
fn as_httparse(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else {
            return None;
        };
        rest = rest.get(line..)?;
        if size == 0 {
            return Some(content);
        }
        let size = usize::try_from(size).ok()?;
        content.extend(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fuzz_target!(|data: &[u8]| {
    for (end, line_end) in [(LineEnd::CrLf, true), (LineEnd::Lf, false)] {
        // What is read of chunks, libraries read alike.
        if let Ok(chunks) = in_time(data.len(), || Chunked::decode(data, end))
            && line_end
        {
            assert_eq!(as_httparse(data), Some(chunks.content));
        }
    }
    for answered in [None, Some(&Method::HEAD), Some(&Method::GET)] {
        let read = in_time(data.len(), || MessageFile::parse(data, answered));
        let message = match read {
            Ok(message) => message,
            Err(failure) => {
                assert_eq!(failure.to_string().lines().count(), 2, "{failure}");
                continue;
            }
        };
        let chunked = is_chunked(&message);
        assert_eq!(message.body.content == Content::Present, chunked || !message.body.bytes.is_empty());
        assert!(chunked || message.body.trailers.is_empty());
        if matches!(message.start, Start::Response { .. }) && answered == Some(&Method::HEAD) {
            assert!(message.body.bytes.is_empty());
        }

        // Content that says no length, and is itself nothing but line breaks, is none; so it is not written again.
        let sized = message.headers.contains_key(header::CONTENT_LENGTH);
        for (end, size) in [(&b"\r\n"[..], 1), (&b"\n"[..], 7), (&b"\r\n"[..], usize::MAX)] {
            let text = written(&message, end, size);
            // A head that was just short enough, or fields that are longer as they are written here.
            let Ok(again) = MessageFile::parse(&text, answered) else {
                assert!(text.len() > 8 * 1024, "{:?}", String::from_utf8_lossy(&text));
                continue;
            };
            assert_same(&message, &again);
            let bare = message.body.bytes.is_empty() && !chunked;
            if chunked || (sized && !bare) {
                let cut = &text[..text.len() - 1];
                let cut = if chunked { cut } else { &text[..text.len() - message.body.bytes.len().min(2)] };
                assert!(MessageFile::parse(cut, answered).is_err(), "{:?}", String::from_utf8_lossy(cut));
                let more = [&text[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
                assert!(MessageFile::parse(&more, answered).is_err(), "{:?}", String::from_utf8_lossy(&more));
            }
        }
    }
});
