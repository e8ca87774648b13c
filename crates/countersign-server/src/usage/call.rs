use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{Code, PublishableKey, Timestamp};
use countersign_store::{
    AddressPrefix, CallAccess, CallOutcome, ClientAddress, CredentialId, EventKind, RestrictionKind,
};
use http::{Method, StatusCode, request::Parts};

use super::{
    agent::Sender,
    counted::{Counted, Event},
    recorder::Recorder,
};

/// The status of calls that ended before they had a response: the client hung up. nginx logs the same.
const CLIENT_HUNG_UP: u16 = 499;

/// A call under way. It is counted when it is dropped: after the last byte of its response, or when the client hangs up.
#[derive(Debug)]
pub(crate) struct Call {
    recorder: Arc<Recorder>,
    started: Instant,
    counted: Option<Counted>,
    sender: Sender,
    /// The key that was named where no key was looked up.
    named: Option<PublishableKey>,
    /// The content that the handler has read.
    read: Option<Arc<AtomicU64>>,
}

impl Call {
    pub(super) fn begin(
        recorder: &Arc<Recorder>,
        head: &Parts,
        route: Option<Arc<str>>,
        now: Timestamp,
    ) -> Self {
        let sender = recorder.agents.sender(&head.headers, now);
        let address = head.extensions.get::<ClientAddress>();
        let counted = Counted {
            began: now,
            credential: None,
            route,
            method: standard(&head.method),
            access: CallAccess::Open,
            // If the client hangs up before the verdict.
            outcome: CallOutcome::Refused(Code::BadRequest),
            status: StatusCode::from_u16(CLIENT_HUNG_UP).unwrap_or(StatusCode::BAD_REQUEST),
            accepted_signature: false,
            prefix: address.map(|address| AddressPrefix::of(address.ip())),
            agent: sender.id,
            event: None,
            duration: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            recorder: Arc::clone(recorder),
            started: Instant::now(),
            counted: Some(counted),
            sender,
            named: None,
            read: None,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Counted)) {
        self.counted.as_mut().map(change);
    }

    pub(crate) fn name_key(&mut self, key: Option<PublishableKey>) {
        self.named = key;
    }

    pub(crate) fn recognise(&mut self, credential: CredentialId, access: CallAccess) {
        self.change(|counted| {
            counted.credential = Some(credential);
            counted.access = access;
        });
    }

    pub(crate) fn raise(&mut self, kind: EventKind, restriction: Option<RestrictionKind>) {
        self.change(|counted| counted.event = Some(Event { kind, restriction }));
    }

    pub(crate) fn accept_signature(&mut self) {
        self.change(|counted| counted.accepted_signature = true);
    }

    pub(crate) fn pass(&mut self) {
        self.change(|counted| counted.outcome = CallOutcome::Passed);
    }

    pub(crate) fn refuse(&mut self, code: Code) {
        self.change(|counted| counted.outcome = CallOutcome::Refused(code));
    }

    pub(crate) fn read(&mut self, bytes: u64) {
        self.change(|counted| counted.bytes_in = counted.bytes_in.saturating_add(bytes));
    }

    pub(crate) fn count_reads(&mut self) -> Arc<AtomicU64> {
        Arc::clone(self.read.get_or_insert_default())
    }

    pub(crate) fn respond(&mut self, status: StatusCode) {
        self.change(|counted| counted.status = status);
    }

    pub(crate) fn send(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.change(|counted| counted.bytes_out = counted.bytes_out.saturating_add(bytes));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(mut counted) = self.counted.take() else { return };
        counted.duration = self.started.elapsed();
        if let Some(read) = &self.read {
            counted.bytes_in = counted.bytes_in.saturating_add(read.load(Ordering::Relaxed));
        }
        if let (Some(id), Some(new)) = (self.sender.id, self.sender.new.take())
            && !self.recorder.agents.remember(id, *new, counted.origin(), counted.began)
        {
            counted.agent = None;
        }
        match self.named {
            Some(key) => self.recorder.count_named(key, counted),
            None => self.recorder.tables.count(counted),
        }
    }
}

/// The method, or `OTHER` for all methods that no standard has.
fn standard(method: &Method) -> Method {
    const STANDARD: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::CONNECT,
        Method::TRACE,
    ];
    match STANDARD.contains(method) {
        true => method.clone(),
        false => Method::from_bytes(b"OTHER").unwrap_or(Method::TRACE),
    }
}
