//! The place in which a request on its way tells what is counted of it. Without the feature `usage` nothing is kept here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use countersign::{Code, PublishableKey};
use countersign_store::{CallAccess, CredentialId, EventKind, RestrictionKind};
use http::StatusCode;

#[cfg(feature = "usage")]
use crate::usage::call::Call;

/// The recording of a request, if usage is on. The request is counted when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    call: Option<Call>,
}

/// Counts the content that a handler reads.
#[derive(Debug, Default)]
pub(crate) struct ReadCount {
    bytes: Option<Arc<AtomicU64>>,
}

#[cfg(feature = "usage")]
impl From<Call> for Recording {
    fn from(call: Call) -> Self {
        Self { call: Some(call) }
    }
}

impl Recording {
    /// The request named this key, and the verifier has not looked it up.
    pub(crate) fn name_key(&mut self, key: Option<PublishableKey>) {
        self.tell(|call| call.name_key(key));
    }

    /// The credential is known, and what the caller showed of it.
    pub(crate) fn recognise(&mut self, credential: CredentialId, access: CallAccess) {
        self.tell(|call| call.recognise(credential, access));
    }

    /// Something happened to the recognised credential.
    pub(crate) fn raise(&mut self, kind: EventKind, restriction: Option<RestrictionKind>) {
        self.tell(|call| call.raise(kind, restriction));
    }

    /// The signature is valid and its nonce was fresh.
    pub(crate) fn accept_signature(&mut self) {
        self.tell(Call::accept_signature);
    }

    /// The request goes on to the handler.
    pub(crate) fn pass(&mut self) {
        self.tell(Call::pass);
    }

    pub(crate) fn refuse(&mut self, code: Code) {
        self.tell(|call| call.refuse(code));
    }

    /// So much content was read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.tell(|call| call.read(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    /// Makes a count of content that is still to be read.
    pub(crate) fn count_reads(&mut self) -> ReadCount {
        ReadCount { bytes: self.call.as_mut().map(Call::count_reads) }
    }

    /// The response has this status.
    pub(crate) fn respond(&mut self, status: StatusCode) {
        self.tell(|call| call.respond(status));
    }

    /// So much of the response was handed on.
    pub(crate) fn send(&mut self, bytes: usize) {
        self.tell(|call| call.send(bytes));
    }

    /// The response has ended.
    pub(crate) fn end(&mut self) {
        drop(std::mem::take(self));
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Call)) {
        if let Some(call) = &mut self.call {
            tell(call);
        }
    }
}

impl ReadCount {
    /// So much content was read.
    pub(crate) fn add(&self, bytes: usize) {
        if let Some(count) = &self.bytes {
            count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// Without the feature `usage` no call is counted, and the compiler leaves out whatever is told of one.
#[cfg(not(feature = "usage"))]
#[derive(Debug)]
enum Call {}

#[cfg(not(feature = "usage"))]
impl Call {
    fn name_key(&mut self, _: Option<PublishableKey>) {
        match *self {}
    }

    fn recognise(&mut self, _: CredentialId, _: CallAccess) {
        match *self {}
    }

    fn raise(&mut self, _: EventKind, _: Option<RestrictionKind>) {
        match *self {}
    }

    fn accept_signature(&mut self) {
        match *self {}
    }

    fn pass(&mut self) {
        match *self {}
    }

    fn refuse(&mut self, _: Code) {
        match *self {}
    }

    fn read(&mut self, _: u64) {
        match *self {}
    }

    fn count_reads(&mut self) -> Arc<AtomicU64> {
        match *self {}
    }

    fn respond(&mut self, _: StatusCode) {
        match *self {}
    }

    fn send(&mut self, _: usize) {
        match *self {}
    }
}
