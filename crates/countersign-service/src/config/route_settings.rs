use std::num::{NonZeroU32, NonZeroU64};

use countersign_server::{Access, BadRoute, Rollout, Route, RouteTable};
use countersign_store::Scopes;
use http::Method;

use super::{
    fault::ConfigFault,
    file::{RouteAccess, RouteContent, RouteRollout, RouteSection, Text},
};

/// The paths of everything that no route is declared for.
const OTHER_PATHS: [&str; 2] = ["/", "/{*path}"];
const WRITES: [Method; 4] = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A declared route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    method: Method,
    path: String,
    access: Access,
    scopes: Scopes,
    rollout: Rollout,
    content_bytes: NonZeroU64,
    cost: NonZeroU32,
    content: ContentCheck,
}

/// Who compares the content of a signed request with its digest, if the proxy in front keeps the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentCheck {
    /// This service. It refuses a request whose content it does not get.
    #[default]
    Verified,
    /// The service behind the proxy.
    CheckedBehind,
}

/// How the content of requests comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentWay {
    /// With the request, and is handed on as it arrives.
    Streamed,
    /// With the question of a proxy, which waits for the answer.
    Gathered,
    /// It stays with the proxy.
    Kept,
}

impl RouteSettings {
    pub(super) fn new(
        section: RouteSection,
        scopes: Scopes,
        content_bytes: NonZeroU64,
    ) -> Result<Self, ConfigFault> {
        let Text(method) = section.method;
        let access = match (section.access, &method) {
            (Some(RouteAccess::Open), _) => Access::Open,
            (Some(RouteAccess::Signed), _) => Access::Signed,
            (Some(RouteAccess::Publishable) | None, &Method::GET) => Access::Publishable,
            (Some(RouteAccess::Publishable), _) => {
                return Err(ConfigFault::new(
                    format!("a publishable key opens reads alone, and {method} is none"),
                    "set its access to \"signed\", or its method to GET, which includes HEAD",
                ));
            }
            (None, _) => Access::Signed,
        };
        let rollout = match section.rollout {
            Some(RouteRollout::Off) => Rollout::Off,
            Some(RouteRollout::Observe) => Rollout::Observe,
            Some(RouteRollout::Enforce) | None => Rollout::Enforce,
        };
        Ok(Self {
            method,
            path: section.path.into_inner(),
            access,
            scopes,
            rollout,
            content_bytes: section.content_bytes.unwrap_or(content_bytes),
            cost: section.cost.unwrap_or(NonZeroU32::MIN),
            content: match section.content {
                RouteContent::Verified => ContentCheck::Verified,
                RouteContent::CheckedBehind => ContentCheck::CheckedBehind,
            },
        })
    }

    /// Returns the method. `GET` includes `HEAD`.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path, with its parameters in braces.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the access that the route requires.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Returns the scopes that a credential must have.
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Returns how far the route has moved to signatures.
    pub const fn rollout(&self) -> Rollout {
        self.rollout
    }

    /// Returns the most content of a signed request, in bytes.
    pub const fn content_bytes(&self) -> NonZeroU64 {
        self.content_bytes
    }

    /// Returns how much a request costs its budgets.
    pub const fn cost(&self) -> NonZeroU32 {
        self.cost
    }

    /// Returns who compares the content with its digest.
    pub const fn content(&self) -> ContentCheck {
        self.content
    }

    pub(super) fn to_route(&self, way: ContentWay) -> Route {
        let (method, path) = (self.method.clone(), self.path.as_str());
        let route = match self.access {
            Access::Open => Route::insecure_open(method, path),
            Access::Publishable => Route::read(path),
            Access::Signed => Route::signed(method, path),
        };
        let route = self.scopes.iter().cloned().fold(route, Route::scope);
        let route = match self.rollout {
            Rollout::Off => route.insecure_off(),
            Rollout::Observe => route.insecure_observe(),
            Rollout::Enforce => route.enforce(),
        };
        way.apply(route, self.content_bytes)
    }

    /// Returns the table of these routes, and of writes to all other paths.
    pub(crate) fn table(
        routes: &[Self],
        content_bytes: NonZeroU64,
        way: ContentWay,
    ) -> Result<RouteTable, BadRoute> {
        let declared = || routes.iter().map(|route| route.to_route(way));
        let is_declared = |method: &Method, path: &str| {
            routes.iter().any(|route| route.method == method && route.path == path)
        };
        let other = |path: &str| {
            let writes = WRITES.into_iter().filter(|method| !is_declared(method, path));
            let route = |method| way.apply(Route::signed(method, path), content_bytes);
            writes.map(route).collect::<Vec<_>>()
        };
        let mut paths: Vec<&str> = routes.iter().map(Self::path).collect();
        paths.sort_unstable();
        paths.dedup();
        let siblings: Vec<_> = paths.iter().flat_map(|path| other(path)).collect();
        let others = OTHER_PATHS.iter().filter(|path| !paths.contains(path));
        let others: Vec<_> = others.flat_map(|path| other(path)).collect();
        let all = declared().chain(siblings.iter().cloned()).chain(others);
        // A declared path such as /{*rest} stands for all others.
        RouteTable::new(all).or_else(|_| RouteTable::new(declared().chain(siblings)))
    }
}

impl ContentWay {
    fn apply(self, route: Route, content_bytes: NonZeroU64) -> Route {
        match self {
            Self::Streamed => route.streamed(content_bytes.get()),
            Self::Gathered => route,
            Self::Kept => route.insecure_content_elsewhere(content_bytes.get()),
        }
    }
}
