use std::sync::Arc;

use countersign::{Content, METHOD_OVERRIDES, Target, Timestamp};
use http::{Method, request::Parts};
use http_body::Body;

use crate::{
    content::ContentLimit,
    ingress::original_uri,
    route::{BodyMode, Route, access::Access, rollout::Rollout, table::RouteTable},
    telemetry::Measurement,
};

/// The declarations about a service's paths.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(super) routes: RouteTable,
    pub(super) rollout: Rollout,
    pub(super) open_paths: Vec<String>,
    pub(super) public_paths: Vec<String>,
}

/// How the service behind a verifier was declared.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    /// Several routes, found in the verifier's table.
    Routes,
    /// A single route, which the router has found.
    #[cfg(feature = "axum")]
    Route(Arc<Route>),
    /// An undeclared route, whatever the table says.
    #[cfg(feature = "axum")]
    Undeclared,
}

/// The requirements on a request and how the verifier treats it: by its route's declaration, or by default.
pub(crate) struct Demand<'v> {
    pub(super) route: Option<&'v Route>,
    pub(super) access: Access,
    pub(super) rollout: Rollout,
    pub(super) body_mode: BodyMode,
}

/// When a request arrived, and the facts in its head about its content.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// The time of all checks.
    pub(super) at: Timestamp,
    pub(super) content: Content,
    /// The announced length: the least number of bytes that will arrive.
    pub(super) announced: u64,
}

impl Declared {
    /// Whether a request is for a public path, which the verifier leaves alone. A request with a field that names another method
    /// is not: the service behind the verifier may treat it as a request with that method.
    pub(super) fn is_public(&self, head: &Parts) -> bool {
        let read = matches!(head.method, Method::GET | Method::HEAD);
        read && self.public_paths.iter().any(|path| path == original_uri(head).path())
            && !METHOD_OVERRIDES.iter().any(|field| head.headers.contains_key(field))
    }

    /// Returns the requirements on a request.
    pub(super) fn demand<'v>(
        &'v self,
        head: &Parts,
        target: Target<'_>,
        content: Content,
        behind: &'v Behind,
    ) -> Demand<'v> {
        let route = match behind {
            Behind::Routes => self.routes.find(&head.method, target.path()),
            // A route's declaration does not apply to other methods that the route responds to.
            #[cfg(feature = "axum")]
            Behind::Route(route) => Some(&**route).filter(|route| route.is_for(&head.method)),
            #[cfg(feature = "axum")]
            Behind::Undeclared => None,
        };
        let open = self.open_paths.iter().any(|path| path == target.path());
        let access = match route.map(Route::access) {
            _ if open => Access::Open,
            Some(access) => access.for_request(head, content),
            None => Access::by_default(head, content),
        };
        let rollout = route.and_then(Route::rollout).unwrap_or(self.rollout);
        let body_mode = route.map_or(BodyMode::Buffered, |route| route.body_mode);
        Demand { route, access, rollout, body_mode }
    }
}

impl<'v> Demand<'v> {
    pub(super) fn begin_measurement(&self) -> Measurement<'v> {
        Measurement::begin(self.rollout, self.route)
    }

    /// The limit on the content of a signed request: a streamed route has a limit of its own beside the verifier's.
    pub(super) const fn content_limit(&self, of_verifier: ContentLimit) -> ContentLimit {
        match self.body_mode {
            BodyMode::Buffered => of_verifier,
            BodyMode::Streamed { limit } | BodyMode::Elsewhere { limit } => {
                ContentLimit { bytes: limit, time: of_verifier.time }
            }
        }
    }

    /// The label of a declared route.
    pub(super) fn label(&self) -> Option<Arc<str>> {
        self.route.map(|route| Arc::clone(&route.label))
    }
}

impl Arrival {
    pub(super) fn of(body: &impl Body, at: Timestamp) -> Self {
        let size = body.size_hint();
        let absent = body.is_end_stream() || size.exact() == Some(0);
        let content = if absent { Content::Absent } else { Content::Present };
        Self { at, content, announced: size.lower() }
    }
}
