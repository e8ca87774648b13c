use std::{io, path::PathBuf};

use http::StatusCode;

use crate::{error::Error, refusal::Refusal};

/// Why a key was not rotated or revoked by its holder.
///
/// The key file is whole after every error, and so is the new key, if one was made: run it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnKeyError {
    /// The address is neither an `https` address nor on this machine. An attacker on the way could make the client give up its key.
    #[error("keys are rotated and revoked over https alone, or on this machine")]
    PlainHttp,
    /// The URL of the endpoint holds a user name or a password. Logs would show it. To send them, set a default header:
    /// [`OwnKey::client_with`](crate::OwnKey::client_with), [`Client::default_headers`](crate::Client::default_headers).
    #[error("the URL holds a user name or a password, which logs would show")]
    UserInfo,
    /// A file could not be read or written.
    #[error("the file {} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key file cannot be replaced by another: it is a mount point of its own, as a single file that is mounted into a
    /// container is, or it may not be changed. Mount its folder instead.
    ///
    /// A program notices before it asks the server, so that the old key stays in use. If it happens after the server
    /// has replaced the key, the new key is in `FILE.next`.
    #[error("the key file {} cannot be replaced by another", path.display())]
    Irreplaceable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key file belongs to another user, who could not read the new file.
    #[error("the key file {} belongs to another user, who could not read a new one", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
    },
    /// Another process has been at it for a minute.
    #[error("another process is rotating the key, and holds the lock on {}", path.display())]
    Busy {
        /// The file with the lock.
        path: PathBuf,
    },
    /// The key is an HMAC secret. Only an operator replaces it.
    #[error("the key is an HMAC secret, which its holder cannot replace")]
    Secret,
    /// The new key of an earlier run cannot be read.
    #[error("the new key of an earlier run, {}, cannot be used", path.display())]
    Next {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// The server refused it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The response could be a stranger's: it came through a proxy without TLS.
    #[error("the response could be anyone's")]
    Unauthenticated,
    /// The response does not come from a holder's endpoint.
    #[error("the response, {0}, is not that of an endpoint for the holders of keys")]
    NoEndpoint(StatusCode),
    /// The key file cannot be read, or a request got no response.
    #[error(transparent)]
    Client(#[from] Error),
}
