//! HTTP/2 by hand (RFC 9113), for what no client library sends.

use std::net::SocketAddr;

use loona_hpack::Decoder;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Answer, Outcome,
    answer::PATIENCE,
    latin1::{self, Bytes},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest frame that is taken without asking, and what may be sent of a body without waiting for room.
const MAX_FRAME: usize = 16_384;
const WINDOW: usize = 65_535;
const CANCEL: u32 = 8;

/// A request in HTTP/2, which may be wrong in any way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2 {
    /// Names and values, pseudo-header fields included, in the order in which they are sent.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The content, if there is any.
    #[serde(default, with = "latin1", skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
    /// The trailers, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<(Bytes, Bytes)>,
    /// How it ends.
    #[serde(default, skip_serializing_if = "End::is_whole")]
    pub end: End,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// With END_STREAM on its last frame.
    #[default]
    Whole,
    /// Not at all: more is announced, and never comes.
    Open,
    /// By the sender's RST_STREAM (CANCEL).
    Reset,
}

impl End {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

impl Http2 {
    /// With one more field.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.push((name.into(), value.as_ref().into()));
    }

    /// With the value of a field changed, or without it.
    pub fn set(&mut self, name: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => self
                .headers
                .iter_mut()
                .filter(|(other, _)| other.0 == name.as_bytes())
                .for_each(|(_, old)| *old = value.into()),
            None => self.headers.retain(|(other, _)| other.0 != name.as_bytes()),
        }
    }

    fn frames(&self, stream: u32) -> Vec<u8> {
        let whole = self.end == End::Whole;
        let bare = whole && self.body.is_empty() && self.trailers.is_empty();
        let mut bytes = headers(stream, &self.headers, bare);
        let mut pieces = self.body.chunks(MAX_FRAME).peekable();
        while let Some(piece) = pieces.next() {
            let last = whole && pieces.peek().is_none() && self.trailers.is_empty();
            bytes.extend(frame(Kind::Data, u8::from(last), stream, piece));
        }
        if !self.trailers.is_empty() {
            bytes.extend(headers(stream, &self.trailers, whole));
        }
        if self.end == End::Reset {
            bytes.extend(frame(Kind::Reset, 0, stream, &CANCEL.to_be_bytes()));
            // Whoever answers this has read what was before it.
            bytes.extend(frame(Kind::Ping, 0, 0, &[0; 8]));
        }
        bytes
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data = 0,
    Headers = 1,
    Reset = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    Continuation = 9,
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind as u8, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HEADERS, and CONTINUATION for what is too long for it.
fn headers(stream: u32, fields: &[(Bytes, Bytes)], ends: bool) -> Vec<u8> {
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| literal(&name.0, &value.0)).collect();
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let mut kind = Kind::Headers;
    let mut bytes = Vec::new();
    loop {
        let piece = pieces.next().unwrap_or_default();
        let last = pieces.peek().is_none();
        let end_stream = if ends && kind == Kind::Headers { END_STREAM } else { 0 };
        let flags = end_stream | if last { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, flags, stream, piece));
        kind = Kind::Continuation;
        if last {
            return bytes;
        }
    }
}

/// A field as RFC 7541 §6.2.2 has it, without index and without Huffman codes: its bytes as they are.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            bytes.push(u8::try_from(rest).unwrap());
        } else {
            bytes.push(127);
            rest = rest.saturating_sub(127);
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text);
    }
    bytes
}

/// Sends a request on a new HTTP/2 connection, without TLS and without asking first, and reads what becomes of it.
pub async fn exchange_http2(address: SocketAddr, request: &Http2) -> Outcome {
    assert!(request.body.len() <= WINDOW, "a larger body has to wait for room");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(Kind::Settings, 0, 0, &[]));
    bytes.extend(request.frames(1));
    // A server that has enough closes the connection; what it said before can still be read.
    drop(stream.write_all(&bytes).await);
    timeout(PATIENCE, read_outcome(&mut stream)).await.unwrap_or(Outcome::Nothing)
}

/// What the server says about the only stream.
async fn read_outcome(stream: &mut TcpStream) -> Outcome {
    let mut decoder = Decoder::new();
    let (mut block, mut body) = (Vec::new(), Vec::new());
    loop {
        let Some((kind, flags, id, payload)) = read_frame(stream).await else {
            return Outcome::Closed;
        };
        let code = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
        };
        let data = kind == Kind::Data as u8 && id == 1;
        let fields = [Kind::Headers, Kind::Continuation].map(|kind| kind as u8).contains(&kind);
        if kind == Kind::Settings as u8 && flags & ACK == 0 {
            drop(stream.write_all(&frame(Kind::Settings, ACK, 0, &[])).await);
        } else if kind == Kind::Ping as u8 && flags & ACK == ACK {
            return Outcome::Nothing;
        } else if kind == Kind::GoAway as u8 {
            return Outcome::ConnectionError(code(4));
        } else if kind == Kind::Reset as u8 && id == 1 {
            return Outcome::StreamError(code(0));
        } else if fields {
            block.extend(payload);
        } else if data {
            body.extend(payload);
        }
        // No answer of ours comes without END_HEADERS on the same frame as END_STREAM, or has trailers.
        if (data || fields) && flags & END_STREAM == END_STREAM {
            return answer(&mut decoder, &block, body).map_or(Outcome::Nothing, Outcome::Answer);
        }
    }
}

fn answer(decoder: &mut Decoder<'_>, block: &[u8], body: Vec<u8>) -> Option<Answer> {
    let fields = decoder.decode(block).ok()?;
    let mut headers = Vec::new();
    let mut status = None;
    for (name, value) in fields {
        let (name, value) = (String::from_utf8(name).ok()?, String::from_utf8(value).ok()?);
        match name.as_str() {
            ":status" => status = value.parse().ok(),
            _ => headers.push((name, value)),
        }
    }
    Some(Answer { status: status?, headers, body: String::from_utf8(body).ok()? })
}

/// Type, flags, stream and payload.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload))
}
