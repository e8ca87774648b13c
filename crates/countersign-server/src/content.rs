//! Reads the content of a signed request to its end, comparing it with its digest on the way.

use std::{pin::pin, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use countersign::{Claimed, Intact};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use crate::refusal::Reason;

/// How much content is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentLimit {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl ContentLimit {
    /// Refuses content that says of itself that it is too large, before anything is spent on it.
    pub(crate) fn check_announced(&self, announced: u64) -> Result<(), Reason> {
        if usize::try_from(announced).is_ok_and(|announced| announced <= self.bytes) {
            return Ok(());
        }
        Err(Reason::ContentTooLarge { limit: self.bytes })
    }

    /// The bytes that were signed: these, and no others, go to the handler.
    pub(crate) async fn read<B: Body>(
        &self,
        body: B,
        claimed: Claimed,
    ) -> Result<(Bytes, Intact), Reason> {
        let reading = tokio::time::timeout(self.time, self.read_to_end(body, claimed));
        reading.await.map_err(|_| Reason::ContentTimeout)?
    }

    async fn read_to_end<B: Body>(
        &self,
        body: B,
        claimed: Claimed,
    ) -> Result<(Bytes, Intact), Reason> {
        let mut body = pin!(body);
        let mut check = claimed.read();
        let mut content = Gathered::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Reason::ContentBroken)?;
            match frame.into_data() {
                Ok(mut data) => {
                    let length = content.len().saturating_add(data.remaining());
                    if length > self.bytes {
                        return Err(Reason::ContentTooLarge { limit: self.bytes });
                    }
                    let piece = data.copy_to_bytes(data.remaining());
                    check.update(&piece);
                    content.add(piece);
                }
                // Trailers are not covered, so nobody gets to see them.
                Err(frame) => {
                    if frame.trailers_ref().is_some_and(has_signature_fields) {
                        return Err(Reason::SignedTrailer);
                    }
                }
            }
        }
        let intact = check.finish()?;
        Ok((content.into_bytes(), intact))
    }
}

/// A trailer that was merged into the head on another hop would change what was verified.
fn has_signature_fields(trailers: &HeaderMap) -> bool {
    ["signature", "signature-input", "content-digest"]
        .iter()
        .any(|name| trailers.contains_key(*name))
}

/// One piece is handed on as it came; only a second one makes a copy.
#[derive(Default)]
enum Gathered {
    #[default]
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl Gathered {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(piece) => piece.len(),
            Self::Several(pieces) => pieces.len(),
        }
    }

    fn add(&mut self, piece: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(piece),
            Self::One(first) => {
                let mut pieces = BytesMut::from(first);
                pieces.extend_from_slice(&piece);
                Self::Several(pieces)
            }
            Self::Several(mut pieces) => {
                pieces.extend_from_slice(&piece);
                Self::Several(pieces)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(piece) => piece,
            Self::Several(pieces) => pieces.freeze(),
        }
    }
}
