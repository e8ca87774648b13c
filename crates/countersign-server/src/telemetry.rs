//! The metrics, and the span of a request. The number of labels is bounded, and no label is a caller's text.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use countersign::Code;
use metrics::{Key, Label, Level, Metadata, SharedString, Unit};
use tracing::{Span, field::Empty};

use crate::{
    caller::Caller,
    refusal::unaccepted::Cause,
    route::{Route, rollout::Rollout},
};

/// Describes all metrics of this crate and of `countersign-store` to the installed recorder, for instance as `# HELP` lines of
/// Prometheus.
///
/// [`Verifier::layer`](crate::Verifier::layer) and [`Verifier::protect`](crate::Verifier::protect) call this. Call it yourself if
/// you install the recorder after them.
pub fn describe_metrics() {
    countersign_store::describe_metrics();
    metrics::describe_histogram!(
        "countersign_verification_seconds",
        Unit::Seconds,
        "Time until the handler starts or the refusal is made, by outcome"
    );
    metrics::describe_gauge!(
        "countersign_usage_flush_age_seconds",
        Unit::Seconds,
        "How long the oldest counts of usage have waited since their sink failed; 0 unless it failed"
    );
    for (name, text) in COUNTERS {
        metrics::describe_counter!(name, text);
    }
}

const COUNTERS: [(&str, &str); 12] = [
    (
        "countersign_requests_total",
        "Requests by their outcome at the verifier: passed, or the code of the refusal",
    ),
    (
        "countersign_failed_streams_total",
        "Requests whose streamed content was not the signed content, or was not read to its end, by code of the refusal",
    ),
    (
        "countersign_unmet_requirements_total",
        "Verified requests that did not meet the requirements of an inner layer, by code of the refusal",
    ),
    (
        "countersign_unsignable_responses_total",
        "Responses that could not be signed and were replaced by a 500",
    ),
    (
        "countersign_private_keys_sent_total",
        "Requests with a registered private key that is not revoked, as publishable key or in Authorization: revoke the key",
    ),
    (
        "countersign_unaccepted_keys_total",
        "Refused publishable keys, by the reason that the caller does not learn",
    ),
    ("countersign_jwks_fetches_total", "Attempts to fetch the keys of an issuer of access tokens"),
    (
        "countersign_connections_full_total",
        "Times a connection had to wait because as many were open as are allowed",
    ),
    (
        "countersign_usage_calls_total",
        "Calls that were recorded, by access and outcome, as they were handed to the sink of usage",
    ),
    ("countersign_usage_flushes_total", "Attempts to save a batch of usage, by outcome"),
    (
        "countersign_usage_overflow_total",
        "Counts of usage that went into a row for all others, since as many are counted apart as are allowed",
    ),
    (
        "countersign_usage_dropped_total",
        "Counts of usage that were dropped, since a table and its rows for all others are full",
    ),
];

/// The outcome of a request at a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The verifier did not check the request.
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

/// The keys under which accepted requests to a route are counted. They are made once: making a key takes longer than counting.
#[derive(Debug)]
pub(crate) struct AcceptedRequests([(Outcome, Key); 3]);

/// Those to routes that are not declared.
static OTHER_ROUTES: LazyLock<AcceptedRequests> = LazyLock::new(|| AcceptedRequests::to(OTHER));

const OTHER: SharedString = SharedString::const_str("other");

impl AcceptedRequests {
    /// Makes the keys for the route with this label, where signatures are enforced.
    pub(crate) fn to(route: SharedString) -> Self {
        let accepted = [Outcome::Signed, Outcome::Publishable, Outcome::Open];
        Self(accepted.map(|outcome| (outcome, requests(outcome, Rollout::Enforce, route.clone()))))
    }

    fn key(&self, outcome: Outcome, rollout: Rollout) -> Option<&Key> {
        let mut keys = self.0.iter().filter(|_| rollout == Rollout::Enforce);
        keys.find(|(accepted, _)| *accepted == outcome).map(|(_, key)| key)
    }
}

/// Returns the key of the counter of requests.
fn requests(outcome: Outcome, rollout: Rollout, route: SharedString) -> Key {
    let labels = [
        Label::from_static_parts("outcome", outcome.as_str()),
        Label::from_static_parts("rollout", rollout.as_str()),
        Label::new("route", route),
    ];
    Key::from_parts("countersign_requests_total", labels.to_vec())
}

/// The measurement of a request's verification, for metrics and the span.
pub(crate) struct Measurement<'r> {
    started: Instant,
    rollout: Rollout,
    /// The declared route, if any.
    route: Option<&'r Route>,
}

impl<'r> Measurement<'r> {
    pub(crate) fn begin(rollout: Rollout, route: Option<&'r Route>) -> Self {
        if let Some(route) = route {
            Span::current().record("route", &*route.label);
        }
        Self { started: Instant::now(), rollout, route }
    }

    /// Returns when the request began.
    #[cfg(feature = "usage")]
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// Counts the outcome, and records the time.
    pub(crate) fn end(self, outcome: Outcome) {
        Span::current().record("outcome", outcome.as_str());
        let accepted = self.route.map_or(&*OTHER_ROUTES, |route| &route.accepted);
        match accepted.key(outcome, self.rollout) {
            Some(key) => count(key),
            None => {
                let label = label(self.route.map(|route| Arc::clone(&route.label)));
                count(&requests(outcome, self.rollout, label));
            }
        }
        // With a text in the source, the key is a constant.
        let seconds = match outcome {
            Outcome::Signed => {
                metrics::histogram!("countersign_verification_seconds", "outcome" => "signed")
            }
            other => {
                let outcome = other.as_str();
                metrics::histogram!("countersign_verification_seconds", "outcome" => outcome)
            }
        };
        seconds.record(self.started.elapsed());
    }
}

/// Counts one request under this key.
fn count(key: &Key) {
    static METADATA: Metadata<'static> =
        Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA)).increment(1);
}

fn label(route: Option<Arc<str>>) -> SharedString {
    route.map_or(OTHER, SharedString::from)
}

/// Counts a request that passed the verifier but does not meet an inner layer's requirements.
pub(crate) fn count_unmet(code: Code, rollout: Rollout, route: Option<Arc<str>>) {
    metrics::counter!(
        "countersign_unmet_requirements_total",
        "outcome" => code.as_str(), "rollout" => rollout.as_str(), "route" => label(route)
    )
    .increment(1);
}

/// Counts a registered private key that was sent in a request, in the place of a publishable key or in `Authorization`.
pub(crate) fn count_private_key() {
    metrics::counter!("countersign_private_keys_sent_total").increment(1);
}

/// Counts a publishable key that was not accepted, by cause. The caller does not learn the cause.
pub(crate) fn count_unaccepted(cause: &Cause) {
    metrics::counter!("countersign_unaccepted_keys_total", "cause" => cause.as_str()).increment(1);
}

/// Counts content that failed after its handler had begun to read it.
pub(crate) fn count_failed_stream(code: Code) {
    metrics::counter!("countersign_failed_streams_total", "outcome" => code.as_str()).increment(1);
}

/// Counts a response that was replaced because it could not be signed.
pub(crate) fn count_unsignable() {
    metrics::counter!("countersign_unsignable_responses_total").increment(1);
}

/// Counts a connection that had to wait for room.
#[cfg(feature = "serve")]
pub(crate) fn count_full() {
    metrics::counter!("countersign_connections_full_total").increment(1);
}

/// Counts an attempt to fetch an issuer's keys.
#[cfg(feature = "oauth")]
pub(crate) fn count_fetch(outcome: &'static str) {
    metrics::counter!("countersign_jwks_fetches_total", "outcome" => outcome).increment(1);
}

/// Makes the span of a request, for its verification and its handler.
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

/// Records the caller in the span.
pub(crate) fn name(caller: &Caller) {
    let span = Span::current();
    span.record("application", caller.application().name.as_str());
    span.record("credential", caller.credential().label.as_str());
    span.record("credential_id", caller.credential().id.get());
}
