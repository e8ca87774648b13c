pub(crate) mod access;
pub(crate) mod rollout;
pub(crate) mod table;

use std::{fmt, sync::Arc};

use countersign_store::{Scope, Scopes};
use http::Method;

use self::{access::Access, rollout::Rollout};
use crate::telemetry::AcceptedRequests;

/// A route, and the access that it requires.
///
/// Only [`Route::read`] accepts a publishable key. It is always `GET` (and `HEAD`): a publishable key is never enough for a
/// write.
///
/// ```
/// use countersign_server::{Access, Route};
/// use countersign_store::Scope;
/// use http::Method;
///
/// let list = Route::read("/v1/orders");
/// assert_eq!(list.access(), Access::Publishable);
///
/// let add = Route::signed(Method::POST, "/v1/orders").scope(Scope::from_static("orders:write"));
/// assert_eq!(add.access(), Access::Signed);
///
/// // Content of up to 1 GiB, which its handler reads as it arrives.
/// let upload = Route::signed(Method::PUT, "/v1/files/{name}").streamed(1 << 30);
/// ```
#[derive(Clone, Debug)]
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: Box<str>,
    pub(crate) access: Access,
    pub(crate) scopes: Scopes,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) body_mode: BodyMode,
    pub(crate) quarantine: Quarantine,
    #[cfg(feature = "usage")]
    pub(crate) uncounted: bool,
    /// Its method and path, for metrics. The number of labels is bounded, unlike the paths of requests.
    pub(crate) label: Arc<str>,
    pub(crate) accepted: Arc<AcceptedRequests>,
}

/// How a handler gets the body of a signed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMode {
    /// All at once, after all of the content has arrived and been verified.
    Buffered,
    /// As it arrives, up to `limit` bytes. The last piece is handed out only if all of the content is the signed content.
    Streamed { limit: u64 },
    /// Not at all: it stays with a proxy that asks about the head alone. Up to `limit` announced bytes.
    Elsewhere { limit: u64 },
}

/// What a key in quarantine may do on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quarantine {
    /// It reads, as on every other route.
    Reads,
    /// All that the route does, which only takes rights from the key itself.
    #[cfg(feature = "axum")]
    GivesUp,
}

impl Route {
    /// Declares `GET` and `HEAD` of this path, for callers with a publishable key or a signature.
    ///
    /// Write the path as for an axum route: `/v1/orders/{id}`.
    pub fn read(path: &str) -> Self {
        Self::new(Method::GET, path, Access::Publishable)
    }

    /// Declares a method of this path, for signed requests. `GET` includes `HEAD`.
    pub fn signed(method: Method, path: &str) -> Self {
        Self::new(method, path, Access::Signed)
    }

    /// Declares a method of this path, for anyone, with unchecked content. A signature that is present is verified all the same.
    pub fn insecure_open(method: Method, path: &str) -> Self {
        Self::new(method, path, Access::Open)
    }

    fn new(method: Method, path: &str, access: Access) -> Self {
        let label: Arc<str> = format!("{method} {path}").into();
        let accepted = Arc::new(AcceptedRequests::to(Arc::clone(&label).into()));
        let (path, scopes) = (path.into(), Scopes::default());
        Self {
            method,
            path,
            access,
            scopes,
            rollout: None,
            body_mode: BodyMode::Buffered,
            quarantine: Quarantine::Reads,
            #[cfg(feature = "usage")]
            uncounted: false,
            label,
            accepted,
        }
    }

    /// Requires one more scope of the credential.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scopes.insert(scope);
        self
    }

    /// Hands signed content to the handler as it arrives, up to `limit` bytes, instead of gathering it first.
    ///
    /// The handler starts on content that is not verified to its end. Two things hold, wherever the handler moves the body:
    ///
    /// - The last piece is handed out only if all of the content is the signed content. Otherwise the body ends with a
    ///   [`ContentError`](crate::ContentError). Let your work on the body take effect only after the body has ended without an
    ///   error.
    /// - The caller gets no complete response with success unless the content was the signed content, and was read to its end.
    ///
    /// | the handler's response | the caller gets, if the content is forged or broken |
    /// | --- | --- |
    /// | made after the content was read | a refusal in its place |
    /// | complete before the content was read, as where a task goes on reading | a refusal in its place: the response waits until the content is read |
    /// | still being made, as in an echo of the content | a refusal if the verifier knows it before the first piece is sent; or else a response without an end: in HTTP/1.1 the connection is closed within a chunk, in HTTP/2 the stream is reset |
    /// | a status of 400 and above | a refusal if the verifier knows it by then, or else the handler's response |
    ///
    /// The same holds for content that is not read to its end, with 500 as the refusal. If the handler responds with success and
    /// the request body was dropped early, by the handler or by a task, that is the service's mistake. A body that is kept and
    /// never read holds its response back for as long as the connection lasts.
    ///
    /// A response of more than 64 KiB in several pieces counts as still being made. It has no `Content-Length`, so that the
    /// client can tell its end from a break.
    ///
    /// Behind [`SignResponses`](crate::SignResponses) every response is complete before it begins, so that the caller always gets
    /// the refusal.
    ///
    /// A refusal cannot undo the handler's work. Write to a place that no reader uses until the body has ended without an error.
    pub fn streamed(mut self, limit: u64) -> Self {
        self.body_mode = BodyMode::Streamed { limit };
        self
    }

    /// Verifies everything but the content of signed requests, which is not read: for a service that a proxy asks about the head
    /// of a request, and whose content the proxy keeps. `limit` is the most bytes that may be announced.
    ///
    /// Whoever gets the content must compare it with the `Content-Digest`, which the signature covers.
    pub fn insecure_content_elsewhere(mut self, limit: u64) -> Self {
        self.body_mode = BodyMode::Elsewhere { limit };
        self
    }

    /// Lets every request pass, and only counts and logs the requests that would be refused.
    pub fn insecure_observe(mut self) -> Self {
        self.rollout = Some(Rollout::Observe);
        self
    }

    /// Lets every request pass unchecked.
    pub fn insecure_off(mut self) -> Self {
        self.rollout = Some(Rollout::Off);
        self
    }

    /// Refuses requests that do not verify, whatever the verifier's default is.
    pub fn enforce(mut self) -> Self {
        self.rollout = Some(Rollout::Enforce);
        self
    }

    /// Leaves the calls of this route out of [`Usage`](crate::Usage), for routes that are polled. Health checks need no
    /// declaration: [public paths](crate::Verifier::public_path) are left out as well.
    #[cfg(feature = "usage")]
    pub fn uncounted(mut self) -> Self {
        self.uncounted = true;
        self
    }

    /// Returns the method. `GET` includes `HEAD`.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path, with its parameters in braces.
    pub const fn path(&self) -> &str {
        &self.path
    }

    /// Returns the access that the route requires.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Returns the scopes that the credential must have.
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Returns how far the route has moved to signatures; `None` if the verifier's default applies.
    pub const fn rollout(&self) -> Option<Rollout> {
        self.rollout
    }

    /// Also lets keys in quarantine write here. For a route that only takes rights from the key itself.
    #[cfg(feature = "axum")]
    pub(crate) const fn in_quarantine_too(mut self) -> Self {
        self.quarantine = Quarantine::GivesUp;
        self
    }

    /// Returns the same route below a prefix.
    #[cfg(feature = "axum")]
    pub(crate) fn below(mut self, prefix: &str) -> Self {
        let rest = if &*self.path == "/" { "" } else { &self.path };
        self.path = format!("{}{rest}", prefix.trim_end_matches('/')).into();
        self.label = format!("{} {}", self.method, self.path).into();
        self
    }

    /// Whether the route is for this method.
    pub(crate) fn is_for(&self, method: &Method) -> bool {
        self.method == method || (self.method == Method::GET && method == Method::HEAD)
    }
}

/// Writes one line: method, path, access, scopes, and all settings that differ from the default.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, access, scopes, .. } = self;
        write!(f, "{:<7} {path:<32} {access}", method.as_str())?;
        for scope in scopes.iter() {
            write!(f, " {scope}")?;
        }
        if let BodyMode::Streamed { limit } = self.body_mode {
            write!(f, " (streamed, {limit} bytes)")?;
        }
        if let BodyMode::Elsewhere { limit } = self.body_mode {
            write!(f, " (content elsewhere, {limit} bytes)")?;
        }
        match self.rollout {
            Some(rollout) if rollout != Rollout::Enforce => write!(f, " ({})", rollout.as_str()),
            _ => Ok(()),
        }
    }
}
