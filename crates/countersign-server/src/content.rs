//! Reads the content of a signed request to its end, and compares it with its digest on the way.

pub(crate) mod gathered;
pub(crate) mod guarded_body;
pub(crate) mod memory;
pub(crate) mod verified_body;

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use bytes::{Buf as _, Bytes};
use countersign::{Claimed, ContentCheck, Intact, check_trailers};
use http_body::Body;
use http_body_util::BodyExt;

use self::{gathered::Gathered, memory::Share};
use crate::{BoxError, refusal::reason::Reason};

/// The limits on the size of content and on the time in which it must arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentLimit {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// Content that failed its check: the part that was read, and the rest.
#[derive(Debug)]
pub(crate) struct Unfit<B> {
    pub(crate) reason: Reason,
    pub(crate) read: Bytes,
    pub(crate) rest: Rest<B>,
}

/// The rest of content after a failed check.
#[derive(Debug)]
pub(crate) enum Rest<B> {
    More(B),
    Broken(BoxError),
}

impl ContentLimit {
    /// Refuses content whose announced length is too large.
    pub(crate) fn check_announced(&self, announced: u64) -> Result<(), Reason> {
        match announced <= self.bytes {
            true => Ok(()),
            false => Err(Reason::ContentTooLarge { limit: self.bytes }),
        }
    }

    /// Reads and verifies the signed bytes. They count in `share` until their last copy is dropped.
    pub(crate) async fn read<B: Body<Error: Into<BoxError>> + Unpin>(
        self,
        mut body: B,
        claimed: Claimed,
        mut share: Share,
    ) -> Result<Bytes, Unfit<B>> {
        let (mut gathered, mut check) = (Gathered::default(), claimed.read());
        let read = {
            let mut reading =
                pin!(self.read_to_end(&mut body, &mut gathered, &mut share, &mut check));
            // Content is often there with its head, and needs no timer.
            match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    let read = tokio::time::timeout(self.time, reading).await;
                    read.unwrap_or(Err((Reason::ContentTimeout, None)))
                }
            }
        };
        let checked = read.and_then(|()| check.finish().map_err(|error| (error.into(), None)));
        let (reason, error) = match checked {
            Ok(Intact { .. }) => return Ok(share.hold(gathered.into_bytes())),
            Err(failed) => failed,
        };
        let rest = error.map_or(Rest::More(body), Rest::Broken);
        Err(Unfit { reason, read: share.hold(gathered.into_bytes()), rest })
    }

    async fn read_to_end<B: Body<Error: Into<BoxError>> + Unpin>(
        &self,
        body: &mut B,
        content: &mut Gathered,
        share: &mut Share,
        check: &mut ContentCheck,
    ) -> Result<(), (Reason, Option<BoxError>)> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let error = error.into();
                (why_broken(&*error), Some(error))
            })?;
            match frame.into_data() {
                Ok(mut data) => {
                    let piece = data.copy_to_bytes(data.remaining());
                    let taken = share.take(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                    check.update(&piece);
                    // Added even without room: on an observed route the handler gets all of the content.
                    content.add(piece);
                    if content.len() > self.bytes {
                        return Err((Reason::ContentTooLarge { limit: self.bytes }, None));
                    }
                    taken.map_err(|full| (full.into(), None))?;
                }
                // Trailers are not covered by the signature, so they are dropped.
                Err(frame) => {
                    if frame
                        .trailers_ref()
                        .is_some_and(|trailers| check_trailers(trailers).is_err())
                    {
                        return Err((Reason::SignedTrailer, None));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the reason for content that broke off: [`serve`](crate::serve) ends content that arrives too slowly.
#[cfg(feature = "serve")]
pub(crate) fn why_broken(error: &(dyn std::error::Error + 'static)) -> Reason {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    match causes.any(|cause| cause.is::<crate::serve::pace::TooSlow>()) {
        true => Reason::ContentTimeout,
        false => Reason::ContentBroken,
    }
}

#[cfg(not(feature = "serve"))]
pub(crate) const fn why_broken(_: &(dyn std::error::Error + 'static)) -> Reason {
    Reason::ContentBroken
}
