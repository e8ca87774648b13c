use std::{io, path::PathBuf};

use countersign::{BadOrigin, BadServerKeys, KeyError, ResponseRejection, SignError};
use http::{HeaderName, StatusCode};

/// Why a request was not sent, or its response is not accepted. A request that could not be signed was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read or change the key file.
    #[error("the key file {} is open to other users; run `chmod 600` on it, or read a mounted secret with `KeyFile::parse` and give it to `Client::new`", path.display())]
    KeyFileMode {
        /// The file.
        path: PathBuf,
    },
    /// The key file holds no usable private key.
    #[error("the key file {} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Sign(#[from] SignError),
    /// The content is a stream, so its digest is unknown before it is sent.
    #[error(
        "a streamed body cannot be signed, since its digest is needed first; send it from memory"
    )]
    StreamingBody,
    /// The URL names no host to sign for.
    #[error("the URL names no origin that can be signed for")]
    Url(#[from] BadOrigin),
    /// The URL cannot be written into a request.
    #[error("the URL cannot be written into a request")]
    Target(#[from] http::uri::InvalidUri),
    /// The request has a `Host` field, which could name another server than the URL.
    #[error("a signed request takes its host from the URL; remove the Host field")]
    HostHeader,
    /// The request has a field for the length of its content, which could differ from the signed content.
    #[error("a signed request takes its length from its content; remove the {field} field")]
    FramingHeader {
        /// `Content-Length` or `Transfer-Encoding`.
        field: HeaderName,
    },
    /// The system has no randomness for a nonce.
    #[error("the system has no randomness for a nonce")]
    Random(#[source] getrandom::Error),
    /// The client given to [`Client::http_client`](crate::Client::http_client) followed a redirect by itself. The outcome
    /// of the request is unknown: the redirect's target received the signature of another request.
    #[error(
        "the HTTP client followed a redirect by itself; build it with `redirect(Policy::none())`"
    )]
    FollowedRedirect,
    /// The response is not the server's own to this request, or its origin cannot be verified. The request may have been
    /// carried out.
    #[error("the response, {status}, is not the server's own response to this request")]
    Response {
        /// The status in the response. A proxy that responds by itself signs nothing.
        status: StatusCode,
        /// Why.
        #[source]
        reason: ResponseRejection,
    },
    /// The response has more content than the client holds in memory to verify it.
    #[error("the response has more than {most} bytes; raise `Client::response_limit`")]
    ResponseTooLarge {
        /// How many bytes it may have.
        most: usize,
    },
    /// The server has no valid key directory.
    #[error("the server has no key directory that can be used")]
    Directory(#[from] BadServerKeys),
    /// The keys would come over a connection where anyone could change them.
    #[error(
        "keys that come by http could be anyone's; use an https URL, or a client that knows one of them"
    )]
    PlainDirectory,
    /// The request could not be built or sent, or got no response.
    #[error("the request got no response")]
    Http(#[from] reqwest::Error),
}
