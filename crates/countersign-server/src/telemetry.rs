//! What is counted of requests, and under which names: labels are of a bounded number, and none of them is a stranger's text.

use std::{sync::Arc, time::Instant};

use countersign::Code;
use metrics::SharedString;
use tracing::{Span, field::Empty};

use crate::{Caller, Rollout, unaccepted::Cause};

/// What became of a request at a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not looked at.
    Unchecked,
    Open,
    Publishable,
    Signed,
    Refused(Code),
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Open => "open",
            Self::Publishable => "publishable",
            Self::Signed => "signed",
            Self::Refused(code) => code.as_str(),
        }
    }
}

/// A request on its way through a verifier.
pub(crate) struct Passing {
    started: Instant,
    rollout: Rollout,
    /// Of a route that was declared.
    route: Option<Arc<str>>,
}

impl Passing {
    pub(crate) fn begin(rollout: Rollout, route: Option<Arc<str>>) -> Self {
        if let Some(route) = &route {
            Span::current().record("route", &**route);
        }
        Self { started: Instant::now(), rollout, route }
    }

    /// Counts what became of it.
    pub(crate) fn end(self, outcome: Outcome) {
        let (outcome, rollout) = (outcome.as_str(), self.rollout.as_str());
        Span::current().record("outcome", outcome);
        metrics::counter!(
            "countersign_requests_total",
            "outcome" => outcome, "rollout" => rollout, "route" => label(self.route)
        )
        .increment(1);
        metrics::histogram!("countersign_verification_seconds", "outcome" => outcome)
            .record(self.started.elapsed());
    }
}

fn label(route: Option<Arc<str>>) -> SharedString {
    route.map_or(SharedString::const_str("other"), SharedString::from)
}

/// Counts what an inner layer asked for in vain, of a request that was counted already as one that passed.
pub(crate) fn count_unmet(code: Code, rollout: Rollout, route: Option<Arc<str>>) {
    metrics::counter!(
        "countersign_unmet_requirements_total",
        "outcome" => code.as_str(), "rollout" => rollout.as_str(), "route" => label(route)
    )
    .increment(1);
}

/// Counts a private key that was sent in the place of a publishable one.
pub(crate) fn count_private_key() {
    metrics::counter!("countersign_private_keys_sent_total").increment(1);
}

/// Counts a publishable key that opened nothing, by the reason that its sender is not told.
pub(crate) fn count_unaccepted(cause: &Cause) {
    metrics::counter!("countersign_unaccepted_keys_total", "cause" => cause.as_str()).increment(1);
}

/// Counts content that failed after its handler had begun on it.
pub(crate) fn count_failed_stream(code: Code) {
    metrics::counter!("countersign_failed_streams_total", "outcome" => code.as_str()).increment(1);
}

/// Counts an answer that was replaced, since it could not be signed.
pub(crate) fn count_unsignable() {
    metrics::counter!("countersign_unsignable_answers_total").increment(1);
}

/// Counts that there was no room for one more connection.
#[cfg(feature = "serve")]
pub(crate) fn count_full() {
    metrics::counter!("countersign_connections_full_total").increment(1);
}

/// Counts an attempt to fetch an issuer's keys.
#[cfg(feature = "oauth")]
pub(crate) fn count_fetch(outcome: &'static str) {
    metrics::counter!("countersign_jwks_fetches_total", "outcome" => outcome).increment(1);
}

/// The span of a request: its verification, and its handler.
pub(crate) fn span() -> Span {
    tracing::info_span!(
        "countersign",
        route = Empty,
        application = Empty,
        credential = Empty,
        credential_id = Empty,
        outcome = Empty
    )
}

/// Says in the span who the caller is, once that is known.
pub(crate) fn name(caller: &Caller) {
    let span = Span::current();
    span.record("application", caller.application().name.as_str());
    span.record("credential", caller.credential().label.as_str());
    span.record("credential_id", caller.credential().id.get());
}
