use std::time::Duration;

use crate::{problem::Problem, service_code::ServiceCode};

/// Why an upstream did not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection could be made.
    Unreachable,
    /// The connection broke, or the response was no HTTP that a proxy may hand on.
    Broken,
    /// The upstream took too long to connect, to take the request or to respond.
    Timeout,
    /// All connections to it are in use.
    Busy,
    /// No upstream is healthy.
    Unavailable { retry_after: Duration },
    /// The client expects something that this proxy does not know (RFC 9110 §10.1.1).
    Expectation,
}

impl Failure {
    pub(super) const fn code(self) -> ServiceCode {
        match self {
            Self::Unreachable => ServiceCode::UpstreamUnreachable,
            Self::Broken => ServiceCode::UpstreamBroken,
            Self::Timeout => ServiceCode::UpstreamTimeout,
            Self::Busy => ServiceCode::UpstreamBusy,
            Self::Unavailable { .. } => ServiceCode::UpstreamUnavailable,
            Self::Expectation => ServiceCode::ExpectationFailed,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection to the service behind this proxy could be made",
            Self::Broken => {
                "the service behind this proxy sent no whole response that can be handed on"
            }
            Self::Timeout => {
                "the service behind this proxy took too long to connect, to take the request or to respond"
            }
            Self::Busy => "all connections to the service behind this proxy are in use",
            Self::Unavailable { .. } => "no server of the service behind this proxy is healthy",
            Self::Expectation => "this proxy knows no expectation but 100-continue",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Unreachable | Self::Busy | Self::Unavailable { .. } => {
                "send the request again later, signed anew"
            }
            Self::Broken | Self::Timeout => {
                "the service may have carried the request out: look before you send it again, signed anew"
            }
            Self::Expectation => "send the request without `Expect`",
        }
    }

    pub(super) fn to_problem(self) -> Problem {
        let retry_after = match self {
            Self::Unavailable { retry_after } => Some(retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Unreachable | Self::Broken | Self::Timeout | Self::Expectation => None,
        };
        Problem { code: self.code(), detail: self.detail(), hint: self.hint(), retry_after }
    }
}
