use std::{io, path::PathBuf};

use countersign::{BadOrigin, BadServerKeys, KeyError, ResponseRejection, SignError};
use http::{HeaderName, StatusCode};

#[cfg(feature = "key-files")]
use crate::key_source::KeySource;
use crate::refusal::Refusal;

/// Why a request was not sent, or its response is not accepted. A request that could not be signed was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file cannot be read.
    #[cfg(feature = "key-files")]
    #[error("the key file {} cannot be read", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read or change the key file.
    #[cfg(feature = "key-files")]
    #[error("the key file {} is open to other users; run `chmod 600` on it, or give a mounted secret as a descriptor, `KeySource::Descriptor`", path.display())]
    KeyFileMode {
        /// The file.
        path: PathBuf,
    },
    /// The source of the key cannot be read.
    #[cfg(feature = "key-files")]
    #[error("{from} cannot be read")]
    KeySource {
        /// Where the key should be.
        from: KeySource,
        /// Why.
        source: io::Error,
    },
    /// The source holds no usable private key.
    #[cfg(feature = "key-files")]
    #[error("{from} cannot be used")]
    Key {
        /// Where the key is kept.
        from: KeySource,
        /// Why.
        source: KeyError,
    },
    /// Servers refuse the public key of a remote key.
    #[error("the remote key cannot be used")]
    BadRemoteKey(#[source] KeyError),
    /// The remote key did not sign.
    #[error("the remote key did not sign the request")]
    RemoteKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key is elsewhere, and this function signs at once.
    #[error("a remote key cannot sign at once; send the request with `RequestBuilder::send`")]
    KeyElsewhere,
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Sign(#[from] SignError),
    /// The content is a stream, so its digest is unknown before it is sent.
    #[error(
        "a streamed body can be signed only by its digest; send a file with `RequestBuilder::file`, give the digest with `RequestBuilder::stream` or in a Content-Digest field, or send the content from memory"
    )]
    StreamingBody,
    /// A file to send cannot be read.
    #[error("the file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file changed after its digest was made. The content that was sent in part is refused by the server.
    #[error("the file {} changed while it was signed and sent; send it when nothing writes to it", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The runtime stopped while a file was read.
    #[error("the runtime stopped while a file was read")]
    Runtime(#[source] io::Error),
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
    /// The content has trailers, which no signature covers.
    #[error("a signed request has no trailers; send their fields in its head")]
    Trailers,
    /// The content that the layer was given cannot be read.
    #[error("the content of the request cannot be read")]
    Content(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A middleware after the signing middleware failed.
    #[error("a middleware that sends signed requests failed")]
    Middleware(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A layer was made of a client that verifies responses, which the layer does not do.
    #[error(
        "a layer verifies no responses; send the request with the client, or with its middleware"
    )]
    UnverifyingLayer,
    /// A blocking client was used in a task of an async runtime.
    #[error(
        "a blocking client would block an async runtime; use `countersign_client::Client` there"
    )]
    BlockingInAsync,
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
    /// The server refused the request: see [`Refusal::check`].
    #[error("the server refused the request: {0}")]
    Refused(Box<Refusal>),
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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
