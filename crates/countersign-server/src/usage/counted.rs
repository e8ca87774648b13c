use std::{sync::Arc, time::Duration};

use countersign::Timestamp;
use countersign_store::{
    AddressPrefix, CallAccess, CallKey, CallOutcome, CredentialId, EventKind, RestrictionKind,
    RouteLabel,
};
use http::{Method, StatusCode};

use super::{agent::AgentId, room::Origin};

/// A call that has ended.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// When it began, by the verifier's clock.
    pub(super) began: Timestamp,
    pub(super) credential: Option<CredentialId>,
    pub(super) route: Option<Arc<str>>,
    pub(super) method: Method,
    pub(super) access: CallAccess,
    pub(super) outcome: CallOutcome,
    pub(super) status: StatusCode,
    /// Whether the signature was accepted, with a fresh nonce.
    pub(super) accepted_signature: bool,
    pub(super) prefix: Option<AddressPrefix>,
    pub(super) agent: Option<AgentId>,
    pub(super) event: Option<Event>,
    pub(super) duration: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// What happened to the credential of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    /// The violated restriction.
    pub(super) restriction: Option<RestrictionKind>,
}

/// Calls that are counted together by place and by program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) hour: Timestamp,
    pub(super) credential: Option<CredentialId>,
    pub(super) access: CallAccess,
}

impl Counted {
    pub(super) const fn origin(&self) -> Origin {
        match self.accepted_signature {
            true => Origin::Holder,
            false => Origin::Stranger,
        }
    }

    /// The group of this call.
    ///
    /// A captured request has a valid signature, and comes from the network and the program of whoever captured it. So these
    /// count as those of the credential only if the request was accepted.
    pub(super) fn group(&self) -> Group {
        let access = match self.access {
            CallAccess::Signed if !self.accepted_signature => CallAccess::Publishable,
            access => access,
        };
        Group { hour: start_of(self.began, 3600), credential: self.credential, access }
    }

    pub(super) fn into_key(self) -> CallKey {
        let Self { began, credential, route, method, access, outcome, status, .. } = self;
        let route = route.map_or(RouteLabel::Other, RouteLabel::Declared);
        CallKey { minute: start_of(began, 60), credential, route, method, access, outcome, status }
    }
}

/// The first second of the minute or hour of a time.
fn start_of(time: Timestamp, seconds: u64) -> Timestamp {
    let into = time.unix().checked_rem(seconds).unwrap_or(0);
    time.minus(Duration::from_secs(into))
}
