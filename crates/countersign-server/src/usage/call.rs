use std::{
    cell::RefCell,
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

/// How many places for calls a thread keeps for its next calls.
const SPARE: usize = 64;

thread_local! {
    static SPARE_PLACES: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// A call under way. It is counted when it is dropped: after the last byte of its response, or when the client hangs up.
///
/// It is a pointer, since it is moved with the request and its response: a request that is not recorded must not pay for its size. Its
/// place is used again by a later call, so that recording allocates nothing in the long run.
#[derive(Debug)]
pub(crate) struct Call(Option<Place>);

type Place = Box<Option<Recorded>>;

#[derive(Debug)]
struct Recorded {
    recorder: Arc<Recorder>,
    started: Instant,
    counted: Counted,
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
        started: Instant,
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
        let spare = SPARE_PLACES.try_with(|places| places.borrow_mut().pop());
        let mut place = spare.ok().flatten().unwrap_or_default();
        let recorder = Arc::clone(recorder);
        *place = Some(Recorded { recorder, started, counted, sender, named: None, read: None });
        Self(Some(place))
    }

    fn recorded(&mut self) -> Option<&mut Recorded> {
        self.0.as_mut().and_then(|place| place.as_mut().as_mut())
    }

    fn change(&mut self, change: impl FnOnce(&mut Counted)) {
        if let Some(recorded) = self.recorded() {
            change(&mut recorded.counted);
        }
    }

    pub(crate) fn name_key(&mut self, key: Option<PublishableKey>) {
        if let Some(recorded) = self.recorded() {
            recorded.named = key;
        }
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
        let read = self.recorded().map(|recorded| recorded.read.get_or_insert_default());
        read.map(|read| Arc::clone(read)).unwrap_or_default()
    }

    pub(crate) fn respond(&mut self, status: StatusCode) {
        self.change(|counted| counted.status = status);
    }

    pub(crate) fn send(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.change(|counted| counted.bytes_out = counted.bytes_out.saturating_add(bytes));
    }
}

impl Recorded {
    fn end(self) {
        let Self { recorder, started, mut counted, sender, named, read } = self;
        counted.duration = started.elapsed();
        if let Some(read) = read {
            counted.bytes_in = counted.bytes_in.saturating_add(read.load(Ordering::Relaxed));
        }
        if let (Some(id), Some(new)) = (sender.id, sender.new)
            && !recorder.agents.remember(id, *new, counted.origin(), counted.began)
        {
            counted.agent = None;
        }
        match named {
            Some(key) => recorder.count_named(key, counted),
            None => recorder.tables.count(counted),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(mut place) = self.0.take() else { return };
        if let Some(recorded) = place.take() {
            recorded.end();
        }
        // Without a thread-local list, as at the end of a thread, the place is freed.
        SPARE_PLACES
            .try_with(|places| {
                let mut places = places.borrow_mut();
                if places.len() < SPARE {
                    places.push(place);
                }
            })
            .ok();
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
