use countersign::{ContentDigest, Origin, RequestHead, Scheme, SignError, Target};
use http::{HeaderMap, Uri, header};
use reqwest::{Request, Url};

use crate::{error::Error, signing::SignedContent};

/// A request before it is signed, with its origin and its target.
pub(crate) struct Unsigned {
    pub(crate) request: Request,
    pub(crate) origin: Origin,
    uri: Uri,
}

/// The content of a request, or the digest that stands for it.
pub(crate) enum Given<'a> {
    Bytes(&'a [u8]),
    Digest(ContentDigest),
}

impl Unsigned {
    /// Checks the fields that signing does not.
    pub(crate) fn new(request: Request) -> Result<Self, Error> {
        if request.headers().contains_key(header::HOST) {
            return Err(Error::HostHeader);
        }
        refuse_framing(request.headers())?;
        let (origin, uri) = (origin(request.url())?, target(request.url())?);
        Ok(Self { request, origin, uri })
    }

    /// The head and the content to sign. A stream needs a `Content-Digest`.
    pub(crate) fn parts(&self) -> Result<(RequestHead<'_>, Given<'_>), Error> {
        let (request, target) = (&self.request, Target::origin_form(&self.uri));
        let (method, headers) = (request.method(), request.headers());
        let bytes = request.body().map_or(Some(&[][..]), |body| body.as_bytes());
        let content = match bytes {
            Some(bytes) => Given::Bytes(bytes),
            None => Given::Digest(given_digest(headers)?),
        };
        Ok((RequestHead { method, target, origin: &self.origin, headers }, content))
    }
}

impl Given<'_> {
    pub(crate) const fn as_signed(&self) -> SignedContent<'_> {
        match self {
            Self::Bytes(bytes) => SignedContent::Bytes(bytes),
            Self::Digest(digest) => SignedContent::Digested(digest),
        }
    }
}

/// The digest that a request with a stream brings.
pub(crate) fn given_digest(headers: &HeaderMap) -> Result<ContentDigest, Error> {
    match ContentDigest::from_headers(headers) {
        Ok(digest) => digest.ok_or(Error::StreamingBody),
        Err(_) => Err(Error::Sign(SignError::ContentDigest)),
    }
}

/// Refuses fields for the length of the content.
pub(crate) fn refuse_framing(headers: &HeaderMap) -> Result<(), Error> {
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    match framing.into_iter().find(|name| headers.contains_key(name)) {
        Some(field) => Err(Error::FramingHeader { field }),
        None => Ok(()),
    }
}

/// The origin as the `Host` field will name it.
pub(crate) fn origin(url: &Url) -> Result<Origin, Error> {
    let scheme: Scheme = url.scheme().parse()?;
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    Ok(Origin::new(scheme, &authority)?)
}

/// The path and query as the request line will have them.
pub(crate) fn target(url: &Url) -> Result<Uri, Error> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(target.parse()?)
}
