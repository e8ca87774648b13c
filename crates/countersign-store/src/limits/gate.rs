use std::{num::NonZeroU32, sync::Arc};

use countersign::{Claim, NonceUse, Timestamp};

use crate::{
    credential::Credential,
    error::StoreError,
    limits::{OverLimit, QuotaLeft, Verdict, client_address::ClientAddress},
    nonces::{NonceStore, readiness::Readiness},
};

/// The last checks of a request with a known caller: its budgets and, for a signed request, the replay guard.
///
/// The replay guards of this crate are gates without limits, and [`Unlimited`] makes a gate of any other [`NonceStore`].
/// [`Limited`](crate::Limited) adds limits counted in this process. Verifiers with the same `Arc` of a gate share its limits
/// and its nonces.
pub trait Gate: Send + Sync + 'static {
    /// Charges a request with a valid signature of this credential and, if the budget allows it, claims its nonce. A request
    /// over a limit uses no nonce.
    ///
    /// Limits are counted for the credential's [lineage](Credential::lineage), and
    /// [limits of its own](Credential::limits) hold in place of the gate's.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the replay guard fails; the request is then refused with 503.
    fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> impl Future<Output = Result<GateVerdict, StoreError>> + Send;

    /// Charges an unsigned read with a publishable key. Also charges a signed request that is refused before its nonce is
    /// claimed, because its key is revoked, expired or quarantined, or does not permit the request.
    ///
    /// # Errors
    ///
    /// [`NoClientAddress`] if there is a limit by client address and the address is unknown.
    fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> impl Future<Output = Result<Verdict, NoClientAddress>> + Send;
}

/// The outcome of a signed request at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an unused verdict guards nothing"]
pub enum GateVerdict {
    /// The budget allows the request, and has this left if it is limited. The claim says whether the nonce is fresh.
    Claimed(Claim, Option<QuotaLeft>),
    /// The request is over a limit. No nonce was claimed.
    Exceeded(OverLimit),
}

/// The error for a limit by client address when the address is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a limit by client address, and the address is not known")]
pub struct NoClientAddress;

impl<G: Gate> Gate for Arc<G> {
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        G::charge_and_claim(self, credential, used, cost, now).await
    }

    async fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        G::charge_unsigned(self, credential, from, cost).await
    }
}

/// A [`Gate`] without limits over a [`NonceStore`].
///
/// ```
/// use countersign::{Claim, NonceUse, Timestamp};
/// use countersign_store::{Gate, NonceStore, StoreError, Unlimited};
///
/// /// Nonces in a database of your own.
/// struct Nonces;
///
/// impl NonceStore for Nonces {
///     async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
///         Err(StoreError::new("the database cannot be reached"))
///     }
/// }
///
/// fn gate() -> impl Gate {
///     Unlimited::new(Nonces)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unlimited<N>(N);

impl<N> Unlimited<N> {
    /// Makes a gate without limits from a replay guard.
    pub const fn new(nonces: N) -> Self {
        Self(nonces)
    }
}

impl<N: Readiness> Readiness for Unlimited<N> {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.0.ready_at(now).await
    }
}

/// Makes a gate without limits of a replay guard, or of a type with a field that is one.
macro_rules! unlimited {
    ($gate:ty $(, $type:ident: $bound:path)? $(, .$field:tt)?) => {
        impl$(<$type: $bound>)? $crate::limits::gate::Gate for $gate {
            async fn charge_and_claim(
                &self,
                _: &$crate::credential::Credential,
                used: &countersign::NonceUse,
                _: std::num::NonZeroU32,
                now: countersign::Timestamp,
            ) -> Result<$crate::limits::gate::GateVerdict, $crate::error::StoreError> {
                let claim = $crate::NonceStore::claim(&(*self)$(.$field)?, used, now).await?;
                Ok($crate::GateVerdict::Claimed(claim, None))
            }

            async fn charge_unsigned(
                &self,
                _: &$crate::credential::Credential,
                _: Option<$crate::limits::client_address::ClientAddress>,
                _: std::num::NonZeroU32,
            ) -> Result<$crate::limits::Verdict, $crate::limits::gate::NoClientAddress> {
                Ok($crate::Verdict::Within(None))
            }
        }
    };
}
pub(crate) use unlimited;

unlimited!(Unlimited<N>, N: NonceStore, .0);
