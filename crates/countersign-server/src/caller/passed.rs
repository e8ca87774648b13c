use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Response, Version};

use super::{Caller, SignedCaller};
use crate::{
    refusal::{Circumstances, answer, reason::Reason},
    route::rollout::Rollout,
    telemetry,
};

/// What the verifier leaves in a request's extensions for extractors and inner layers: whatever they refuse is answered as
/// it would.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) caller: Option<Caller>,
    /// The content of a signed request, as it was signed, where it was gathered.
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "extractors read it"))]
    pub(crate) content: Option<Bytes>,
    pub(crate) requirements: Requirements,
    /// Of a route that was declared.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) circumstances: Circumstances,
}

/// What becomes of what inner layers ask for.
#[derive(Clone, Debug)]
pub(crate) enum Requirements {
    /// Nobody looks, or the request was counted already as one that would be refused.
    Ignored,
    /// What this caller lacks is counted, and lets them pass.
    Observed(Option<Caller>),
    Enforced,
}

impl Passed {
    /// What the verifier left, or the answer to a request that did not pass it.
    pub(crate) fn of<B: From<Bytes>>(
        extensions: &Extensions,
        version: Version,
    ) -> Result<&Self, Response<B>> {
        extensions.get().ok_or_else(|| {
            tracing::error!("a route is not behind the verifier; add `.layer(verifier.layer())` to the finished router");
            answer(&Reason::NoLayer.into(), &Circumstances::unknown(Method::GET, version), &HeaderMap::new())
        })
    }

    /// The caller of whom inner layers ask for more.
    pub(crate) fn asked(&self) -> Option<&Caller> {
        match &self.requirements {
            Requirements::Observed(caller) => caller.as_ref(),
            Requirements::Ignored | Requirements::Enforced => self.caller.as_ref(),
        }
    }

    /// Counts that a request lacks what an inner layer asks for.
    ///
    /// # Errors
    ///
    /// The reason, unless nobody is refused there.
    pub(crate) fn excuse(&self, reason: Reason) -> Result<Reason, Reason> {
        let count = |rollout| telemetry::count_unmet(reason.code(), rollout, self.route.clone());
        match self.requirements {
            Requirements::Ignored => Ok(reason),
            Requirements::Observed(_) => {
                count(Rollout::Observe);
                tracing::info!(code = %reason.code(), detail = reason.for_log(), "would be refused");
                Ok(reason)
            }
            Requirements::Enforced => {
                count(Rollout::Enforce);
                Err(reason)
            }
        }
    }

    /// The caller of a request with at least a publishable key, or the answer to one without.
    pub(crate) fn caller_of<B: From<Bytes>>(
        extensions: &Extensions,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Caller, Response<B>> {
        let passed = Self::of(extensions, version)?;
        let refused = || answer(&Reason::KeyRequired.into(), &passed.circumstances, headers);
        passed.caller.clone().ok_or_else(refused)
    }

    /// The caller of a signed request, or the answer to another one.
    pub(crate) fn signed_caller_of<B: From<Bytes>>(
        extensions: &Extensions,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<SignedCaller, Response<B>> {
        let passed = Self::of(extensions, version)?;
        let refused = || answer(&Reason::SignatureRequired.into(), &passed.circumstances, headers);
        passed.signed().ok_or_else(refused)
    }

    /// The caller of a signed request.
    pub(crate) fn signed(&self) -> Option<SignedCaller> {
        self.caller.as_ref().and_then(Caller::to_signed)
    }
}
