use std::{io, path::PathBuf};

use countersign::{BadOrigin, BadServerKeys, KeyError, ResponseRejection, SignError};
use http::{HeaderName, StatusCode};

/// Why a request was not sent, or got no answer that is taken. One that could not be signed was not sent.
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
    /// The key file holds no private key that can be used.
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
    /// The content is a stream, whose digest is not known before it is sent.
    #[error(
        "a streamed body cannot be signed, since its digest is needed first; send it from memory"
    )]
    StreamingBody,
    /// The URL names no host that can be signed for.
    #[error("the URL names no origin that can be signed for")]
    Url(#[from] BadOrigin),
    /// The URL is not one that can be written into a request.
    #[error("the URL cannot be written into a request")]
    Target(#[from] http::uri::InvalidUri),
    /// The request has a `Host` field of its own, which could be for another server than the URL.
    #[error("a signed request takes its host from the URL; remove the Host field")]
    HostHeader,
    /// The request says itself where its content ends, which could be elsewhere than where the signed content does.
    #[error("a signed request takes its length from its content; remove the {field} field")]
    FramingHeader {
        /// `Content-Length` or `Transfer-Encoding`.
        field: HeaderName,
    },
    /// The system has no randomness for a nonce.
    #[error("the system has no randomness for a nonce")]
    Random(#[source] getrandom::Error),
    /// The client given to [`Client::http_client`](crate::Client::http_client) followed a redirect by itself. What came of
    /// the request is not known: where the redirect leads got the signature of another request.
    #[error(
        "the HTTP client followed a redirect by itself; build it with `redirect(Policy::none())`"
    )]
    FollowedRedirect,
    /// The answer is not one that the server made to this request, or nobody can tell. The request may have been carried
    /// out.
    #[error("the response, {status}, is not the server's own response to this request")]
    Response {
        /// What it says its status is. A proxy in front that answers by itself signs nothing.
        status: StatusCode,
        /// Why.
        #[source]
        reason: ResponseRejection,
    },
    /// The answer has more content than is taken into memory to verify it.
    #[error("the response has more than {most} bytes; raise `Client::response_limit`")]
    ResponseTooLarge {
        /// How many bytes it may have.
        most: usize,
    },
    /// What is at the place of a key directory is none.
    #[error("the server has no key directory that can be used")]
    Directory(#[from] BadServerKeys),
    /// The keys of a server would come over a connection on which anyone could change them.
    #[error(
        "keys that come by http could be anyone's; use an https URL, or a client that knows one of them"
    )]
    PlainDirectory,
    /// The request could not be built or sent, or was not answered.
    #[error("the request was not answered")]
    Http(#[from] reqwest::Error),
}
