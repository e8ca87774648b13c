use std::sync::Arc;

use countersign::{Content, METHOD_OVERRIDES, Target};
use http::{Method, request::Parts};
use http_body::Body;

use crate::{
    content::ContentLimit,
    ingress::original_uri,
    route::{BodyMode, Route, access::Access, rollout::Rollout, table::RouteTable},
    telemetry::Measurement,
};

/// What was declared about the paths of a service.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(super) routes: RouteTable,
    pub(super) rollout: Rollout,
    pub(super) open_paths: Vec<String>,
    pub(super) public_paths: Vec<String>,
}

/// What a service behind a verifier was declared to be.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    /// Several routes, which the verifier's table tells apart.
    Routes,
    /// This route: the router has found it.
    #[cfg(feature = "axum")]
    Route(Arc<Route>),
    /// Nothing, whatever else is declared.
    #[cfg(feature = "axum")]
    Undeclared,
}

/// What a request has to bring, and how it is treated: as its route was declared, or by default.
pub(crate) struct Demand<'v> {
    pub(super) route: Option<&'v Route>,
    pub(super) access: Access,
    pub(super) rollout: Rollout,
    pub(super) body_mode: BodyMode,
}

/// What the head of a request says about its content.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(super) content: Content,
    /// The least number of bytes that will come.
    pub(super) announced: u64,
}

impl Declared {
    /// Whether a request is for a path that stands outside this verifier. A request with a field that names another method is
    /// not: whatever runs behind the verifier may take it for a request of that method.
    pub(super) fn is_public(&self, head: &Parts) -> bool {
        let read = matches!(head.method, Method::GET | Method::HEAD);
        read && self.public_paths.iter().any(|path| path == original_uri(head).path())
            && !METHOD_OVERRIDES.iter().any(|field| head.headers.contains_key(field))
    }

    /// What a request has to bring.
    pub(super) fn demand<'v>(
        &'v self,
        head: &Parts,
        target: Target<'_>,
        content: Content,
        behind: &'v Behind,
    ) -> Demand<'v> {
        let route = match behind {
            Behind::Routes => self.routes.find(&head.method, target.path()),
            // Nobody declared the other methods that a route answers.
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

impl Demand<'_> {
    pub(super) fn begin_measurement(&self) -> Measurement {
        Measurement::begin(self.rollout, self.label())
    }

    /// The limit on the content of a signed request: a streamed route has a limit of its own beside the verifier's.
    pub(super) const fn content_limit(&self, of_verifier: ContentLimit) -> ContentLimit {
        match self.body_mode {
            BodyMode::Buffered => of_verifier,
            BodyMode::Streamed { limit } => ContentLimit { bytes: limit, time: of_verifier.time },
        }
    }

    /// The label of a declared route.
    pub(super) fn label(&self) -> Option<Arc<str>> {
        self.route.map(|route| Arc::clone(&route.label))
    }
}

impl Arrival {
    pub(super) fn of(body: &impl Body) -> Self {
        let size = body.size_hint();
        let absent = body.is_end_stream() || size.exact() == Some(0);
        let content = if absent { Content::Absent } else { Content::Present };
        Self { content, announced: size.lower() }
    }
}
