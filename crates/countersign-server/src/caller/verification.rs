use std::sync::Arc;

use bytes::Bytes;
use countersign::Content;
use http::{Extensions, HeaderMap, Method, Request, Response, Version, request::Parts};

use super::{Caller, SignedCaller};
use crate::{
    refusal::{Circumstances, Judge, reason::Reason, respond},
    route::rollout::Rollout,
    telemetry,
};

/// The result of a request's verification. The verifier leaves it in the extensions for extractors and inner layers, which make
/// their refusals with it as the verifier makes its own.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(crate) caller: Option<Caller>,
    /// The signed content, if it was gathered.
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "extractors read it"))]
    pub(crate) content: Option<Bytes>,
    pub(crate) requirements: Requirements,
    /// The label of the declared route, if any.
    pub(crate) route: Option<Arc<str>>,
    /// Whether the request came with content.
    pub(crate) arrived: Content,
    pub(crate) judge: Judge,
}

/// How inner layers treat a request below their requirements.
#[derive(Clone, Debug)]
pub(crate) enum Requirements {
    /// Inner layers do nothing: the route is off, or the verifier has already counted a refusal of the request.
    Ignored,
    /// Inner layers count the request and let it pass. Has the caller, if known.
    Observed(Option<Caller>),
    /// Inner layers refuse the request.
    Enforced,
}

/// The head of a request, as inner layers see it.
#[derive(Clone, Copy)]
pub(crate) struct Head<'r> {
    method: &'r Method,
    version: Version,
    headers: &'r HeaderMap,
    extensions: &'r Extensions,
}

impl<'r, B> From<&'r Request<B>> for Head<'r> {
    fn from(request: &'r Request<B>) -> Self {
        let (method, version) = (request.method(), request.version());
        Self { method, version, headers: request.headers(), extensions: request.extensions() }
    }
}

impl<'r> From<&'r Parts> for Head<'r> {
    fn from(head: &'r Parts) -> Self {
        let Parts { method, version, headers, extensions, .. } = head;
        Self { method, version: *version, headers, extensions }
    }
}

impl Verification {
    /// Returns the verifier's result, or the response to a request without a verifier.
    pub(crate) fn of<'r, B: From<Bytes>>(
        head: impl Into<Head<'r>>,
    ) -> Result<&'r Self, Response<B>> {
        let head = head.into();
        head.extensions.get().ok_or_else(|| {
            tracing::error!("a route is not behind the verifier; add `.layer(verifier.layer())` to the finished router");
            let circumstances = Circumstances::unknown(head.method, head.version);
            respond(&Reason::NoLayer.into(), &circumstances)
        })
    }

    /// Returns the caller for the checks of inner layers.
    pub(crate) fn checked_caller(&self) -> Option<&Caller> {
        match &self.requirements {
            Requirements::Observed(caller) => caller.as_ref(),
            Requirements::Ignored | Requirements::Enforced => self.caller.as_ref(),
        }
    }

    /// Counts a request that does not meet an inner layer's requirements. Returns the reason if the request may pass all the
    /// same.
    ///
    /// # Errors
    ///
    /// The reason, if the request must be refused.
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

    /// Returns the response of an inner layer or extractor to a refused request.
    pub(crate) fn refuse<'r, B: From<Bytes>>(
        &self,
        head: impl Into<Head<'r>>,
        reason: Reason,
    ) -> Response<B> {
        let Head { method, version, headers, .. } = head.into();
        let circumstances = Circumstances {
            method,
            version,
            headers: Some(headers),
            content: self.arrived,
            judge: Some(&self.judge),
        };
        respond(&reason.into(), &circumstances)
    }

    /// Returns a part of the verifier's result, or the response if it is missing.
    fn require<'r, T, B: From<Bytes>>(
        head: impl Into<Head<'r>>,
        part: impl FnOnce(&Self) -> Option<T>,
        missing: Reason,
    ) -> Result<T, Response<B>> {
        let head = head.into();
        let verification = Self::of(head)?;
        part(verification).ok_or_else(|| verification.refuse(head, missing))
    }

    /// Returns the caller of a signed request.
    pub(crate) fn signed(&self) -> Option<SignedCaller> {
        self.caller.as_ref().and_then(Caller::to_signed)
    }
}

impl Caller {
    /// Returns the caller of a request that passed a verifier, if it is known: for services such as proxies, which hand on all
    /// requests. `None` also for a request that did not pass a verifier.
    pub fn known(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Verification>().and_then(|verification| verification.caller.clone())
    }

    /// Returns the caller of a request with a publishable key or a signature; [`Caller::proof`] says which.
    ///
    /// # Errors
    ///
    /// The response to send: 401 for a request without a known caller, such as a request to an open route. 500 for a request that
    /// did not pass a verifier; the log then has the missing line.
    pub fn of<B, C: From<Bytes>>(request: &Request<B>) -> Result<Self, Response<C>> {
        Self::of_head(request)
    }

    pub(crate) fn of_head<'r, C: From<Bytes>>(
        head: impl Into<Head<'r>>,
    ) -> Result<Self, Response<C>> {
        Verification::require(head, |verification| verification.caller.clone(), Reason::KeyRequired)
    }
}

impl SignedCaller {
    /// Returns the caller of a signed request. The request's content is the signed content, unless layers behind the verifier
    /// changed it.
    ///
    /// # Errors
    ///
    /// The response to send: 401 for an unsigned request. 500 for a request that did not pass a verifier; the log then has the
    /// missing line.
    pub fn of<B, C: From<Bytes>>(request: &Request<B>) -> Result<Self, Response<C>> {
        Self::of_head(request)
    }

    pub(crate) fn of_head<'r, C: From<Bytes>>(
        head: impl Into<Head<'r>>,
    ) -> Result<Self, Response<C>> {
        Verification::require(head, Verification::signed, Reason::SignatureRequired)
    }
}
