use std::num::NonZeroU32;

use countersign::{Claim, NonceUse, Timestamp};

use crate::{ClientAddress, CredentialId, Excess, Level, NonceStore, StoreError, Verdict};

/// What a request whose caller is known still has to pass: its budgets and, if it is signed, the replay guard.
///
/// Every [`NonceStore`] is a gate without limits. [`Limited`](crate::Limited) adds limits that are kept in this process.
pub trait Gate: Send + Sync + 'static {
    /// Charges a signed request whose signature holds and, if its budget allows it, claims its nonce: what is over a limit
    /// uses up no nonce.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the replay guard cannot answer; the request is then refused with 503.
    fn signed(
        &self,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> impl Future<Output = Result<Passage, StoreError>> + Send;

    /// Charges a read that shows a publishable key.
    ///
    /// # Errors
    ///
    /// [`NoClientAddress`] if there is a limit by address, and none is known.
    fn unsigned(
        &self,
        credential: CredentialId,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> impl Future<Output = Result<Verdict, NoClientAddress>> + Send;
}

/// What became of a signed request at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a passage that nobody looks at guards nothing"]
pub enum Passage {
    /// Its budget allows it, and has this left if it is limited; its nonce was asked for.
    Claimed(Claim, Option<Level>),
    /// It is over a limit. No nonce was claimed.
    Limited(Excess),
}

/// There is a limit by client address, and the address is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a limit by client address, and the address is not known")]
pub struct NoClientAddress;

impl<N: NonceStore> Gate for N {
    async fn signed(
        &self,
        used: &NonceUse,
        _: NonZeroU32,
        now: Timestamp,
    ) -> Result<Passage, StoreError> {
        Ok(Passage::Claimed(self.claim(used, now).await?, None))
    }

    async fn unsigned(
        &self,
        _: CredentialId,
        _: Option<ClientAddress>,
        _: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        Ok(Verdict::Within(None))
    }
}
