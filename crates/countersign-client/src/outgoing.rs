use std::io;

use countersign::{CONTENT_DIGEST, ContentDigest, SignError};
use reqwest::{Body, Request, Url};

use crate::{
    error::Error,
    pieces::{Piece, Pieces},
};

/// A request before it is signed, and the content for each of its attempts.
pub(crate) struct Outgoing {
    /// Without content that is not in memory.
    request: Request,
    content: Content,
}

enum Content {
    /// In the request: bytes in memory, or none.
    Memory,
    /// A stream, until it is sent.
    Once(Option<Body>),
    Pieces(Pieces),
}

impl Outgoing {
    pub(crate) fn new(mut request: Request) -> Self {
        let in_memory = request.body().is_none_or(|body| body.as_bytes().is_some());
        let content = match in_memory {
            true => Content::Memory,
            false => Content::Once(request.body_mut().take()),
        };
        Self { request, content }
    }

    /// A request with content of files, which are read once here.
    pub(crate) async fn of_pieces(request: Request, pieces: Vec<Piece>) -> Result<Self, Error> {
        let pieces = off_thread(move || Pieces::measure(pieces)).await?;
        Self::of_measured(request, pieces)
    }

    fn of_measured(mut request: Request, pieces: Pieces) -> Result<Self, Error> {
        if pieces.is_empty() {
            *request.body_mut() = Some(Vec::new().into());
            return Ok(Self { request, content: Content::Memory });
        }
        let wrong = || Error::Sign(SignError::ContentDigest);
        if request.headers().contains_key(CONTENT_DIGEST) {
            let given = ContentDigest::from_headers(request.headers()).ok().flatten();
            if given.as_ref() != Some(pieces.digest()) {
                return Err(wrong());
            }
        } else {
            let digest = pieces.digest().to_header().map_err(|_| wrong())?;
            request.headers_mut().insert(CONTENT_DIGEST, digest);
        }
        Ok(Self { request, content: Content::Pieces(pieces) })
    }

    /// As [`Outgoing::of_pieces`], on this thread, for one attempt.
    pub(crate) fn only_attempt(request: Request, pieces: Vec<Piece>) -> Result<Request, Error> {
        let Self { mut request, content } = Self::of_measured(request, Pieces::measure(pieces)?)?;
        if let Content::Pieces(pieces) = content {
            *request.body_mut() = Some(pieces.to_body()?);
        }
        Ok(request)
    }

    pub(crate) const fn request(&self) -> &Request {
        &self.request
    }

    /// Whether there is content, or some may come.
    pub(crate) fn has_content(&self) -> bool {
        let bytes = self.request.body().and_then(Body::as_bytes).unwrap_or_default();
        !matches!(self.content, Content::Memory) || !bytes.is_empty()
    }

    pub(crate) fn set_url(&mut self, url: Url) {
        *self.request.url_mut() = url;
    }

    /// The request for the next attempt. `None` if its content was a stream, which is sent.
    pub(crate) async fn next(&mut self) -> Result<Option<Request>, Error> {
        // Never `None`: its content is in memory.
        let Some(mut request) = self.request.try_clone() else { return Ok(None) };
        match &mut self.content {
            Content::Memory => {}
            Content::Once(body) => match body.take() {
                Some(body) => *request.body_mut() = Some(body),
                None => return Ok(None),
            },
            Content::Pieces(pieces) => {
                let pieces = pieces.clone();
                let body = off_thread(move || pieces.to_body()).await?;
                *request.body_mut() = Some(body);
            }
        }
        Ok(Some(request))
    }
}

/// Does what blocks where it blocks no other request.
async fn off_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| Error::Runtime(io::Error::from(error)))?
}
