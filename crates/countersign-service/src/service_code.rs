use std::fmt;

use http::StatusCode;

/// The stable name of a response that is neither the upstream's nor a refusal of the verifier: in `code` and `type` of its problem
/// details, and in `Countersign-Refusal`. A [`Code`](countersign::Code) names the verifier's refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceCode {
    /// nginx asks for the reason of a refusal, and it is not known any more.
    AnswerForgotten,
    /// The question of a proxy does not tell which request it is about.
    BadQuestion,
    /// The proxy that asks kept signed content, which its route has verified here.
    ContentUnverified,
    /// The request expects something other than `100-continue`.
    ExpectationFailed,
    /// A peer asks that is not listed as a proxy.
    ProxyUnknown,
    /// The upstream broke the connection off, or its response cannot be handed on.
    UpstreamBroken,
    /// All connections to the upstream are in use.
    UpstreamBusy,
    /// The upstream took too long.
    UpstreamTimeout,
    /// No upstream is healthy.
    UpstreamUnavailable,
    /// No connection to an upstream could be made.
    UpstreamUnreachable,
}

impl ServiceCode {
    /// All codes of this version.
    pub const ALL: [Self; 10] = [
        Self::AnswerForgotten,
        Self::BadQuestion,
        Self::ContentUnverified,
        Self::ExpectationFailed,
        Self::ProxyUnknown,
        Self::UpstreamBroken,
        Self::UpstreamBusy,
        Self::UpstreamTimeout,
        Self::UpstreamUnavailable,
        Self::UpstreamUnreachable,
    ];

    /// Returns the name, as in `upstream-timeout`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnswerForgotten => "answer-forgotten",
            Self::BadQuestion => "bad-question",
            Self::ContentUnverified => "content-unverified",
            Self::ExpectationFailed => "expectation-failed",
            Self::ProxyUnknown => "proxy-unknown",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamBusy => "upstream-busy",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamUnavailable => "upstream-unavailable",
            Self::UpstreamUnreachable => "upstream-unreachable",
        }
    }

    /// Returns the status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadQuestion | Self::ContentUnverified | Self::ProxyUnknown => {
                StatusCode::FORBIDDEN
            }
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::UpstreamBroken | Self::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
            Self::AnswerForgotten | Self::UpstreamBusy | Self::UpstreamUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns the meaning in a few words, the same for every request.
    pub const fn title(self) -> &'static str {
        match self {
            Self::AnswerForgotten => "The reason of the refusal is not known any more",
            Self::BadQuestion => "The request cannot be told",
            Self::ContentUnverified => "The content cannot be verified here",
            Self::ExpectationFailed => "The expectation is not supported",
            Self::ProxyUnknown => "Only proxies may ask",
            Self::UpstreamBroken => "The service broke the connection off",
            Self::UpstreamBusy => "The service is busy",
            Self::UpstreamTimeout => "The service did not respond in time",
            Self::UpstreamUnavailable => "The service is not available",
            Self::UpstreamUnreachable => "The service cannot be reached",
        }
    }
}

impl fmt::Display for ServiceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
