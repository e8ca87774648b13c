use std::{sync::Arc, time::Duration};

use countersign::{Code, Timestamp};
use http::{Method, StatusCode};

use super::latency::LatencyHistogram;
use crate::credential::CredentialId;

/// What calls have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The minute in which the calls began: its first second.
    pub minute: Timestamp,
    /// `None` if the caller named no key that is known.
    pub credential: Option<CredentialId>,
    /// The route that was declared.
    pub route: RouteLabel,
    /// A standard method.
    pub method: Method,
    /// What the caller showed.
    pub access: CallAccess,
    /// What the verifier made of them.
    pub outcome: CallOutcome,
    /// The status of the responses.
    pub status: StatusCode,
}

/// The label of a declared route, such as `/v1/orders/{id}`. Never the path of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteLabel {
    /// The label of this route.
    Declared(Arc<str>),
    /// No route was declared, or more than are counted apart.
    Other,
}

/// What a caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallAccess {
    /// No key, or none that is known.
    Open,
    /// A known publishable key, without a valid signature.
    Publishable,
    /// A valid signature.
    Signed,
}

impl CallAccess {
    /// Returns the name, as in `signed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Publishable => "publishable",
            Self::Signed => "signed",
        }
    }
}

/// What became of a call at the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The request reached the handler.
    Passed,
    /// The verifier refused the request.
    Refused(Code),
}

impl CallOutcome {
    /// Returns the name: `passed`, or the code of the refusal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused(code) => code.as_str(),
        }
    }
}

/// The calls with one [`CallKey`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// How many there were.
    pub calls: u64,
    /// The content of the requests, in bytes.
    pub bytes_in: u64,
    /// The content of the responses, in bytes.
    pub bytes_out: u64,
    /// All durations together.
    pub duration: Duration,
    /// The durations, until the last byte of the response.
    pub latencies: LatencyHistogram,
}

impl CallCount {
    /// Counts a call.
    pub fn add(&mut self, duration: Duration, bytes_in: u64, bytes_out: u64) {
        self.calls = self.calls.saturating_add(1);
        self.bytes_in = self.bytes_in.saturating_add(bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(bytes_out);
        self.duration = self.duration.saturating_add(duration);
        self.latencies.add(duration);
    }
}
