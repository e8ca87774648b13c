use std::fmt;

use countersign::METHODS;
use http::Method;

use super::{Route, access::Access};

/// All declared routes, for [`Verifier::routes`](crate::Verifier::routes).
///
/// Print it to see the list. Routes that are not in the table ask for [`Access::by_default`](crate::Access::by_default).
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// By path, in the order in which the paths were declared.
    paths: Vec<Vec<Route>>,
    places: matchit::Router<usize>,
}

/// Why routes cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRoute {
    /// A route is declared twice.
    #[error("the route {0} is declared twice; remove one of the two")]
    Twice(Box<str>),
    /// A path is invalid, or overlaps another route's.
    #[error("the path of the route {route} cannot be served: {reason}")]
    Path {
        /// The route's method and path.
        route: Box<str>,
        /// What is wrong with the path.
        reason: Box<str>,
    },
    /// An open route asks for a scope, which nobody would check.
    #[error(
        "the route {0} is open and asks for a scope; declare it as read or signed, or without the scope"
    )]
    Open(Box<str>),
    /// A method that verifiers refuse.
    #[error(
        "the method of the route {0} is none of GET, HEAD, OPTIONS, POST, PUT, PATCH and DELETE"
    )]
    Method(Box<str>),
}

impl RouteTable {
    /// The table of these routes.
    ///
    /// # Errors
    ///
    /// [`BadRoute`].
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self, BadRoute> {
        let mut table = Self::default();
        for route in routes {
            table.add(route)?;
        }
        Ok(table)
    }

    fn add(&mut self, route: Route) -> Result<(), BadRoute> {
        let label = || Box::from(&*route.label);
        if !METHODS.contains(&route.method) {
            return Err(BadRoute::Method(label()));
        }
        if route.access == Access::Open && !route.scopes.is_empty() {
            return Err(BadRoute::Open(label()));
        }
        if !route.path.starts_with('/') {
            return Err(BadRoute::Path {
                route: label(),
                reason: "it does not start with /".into(),
            });
        }
        // As in earlier versions of axum, which refuses them.
        if route.path.contains("/:") || route.path.contains("/*") {
            let reason = "a parameter is {name}, and the rest of a path {*name}".into();
            return Err(BadRoute::Path { route: label(), reason });
        }
        let same_path =
            |routes: &&mut Vec<Route>| routes.first().is_some_and(|other| other.path == route.path);
        if let Some(routes) = self.paths.iter_mut().find(same_path) {
            if routes.iter().any(|other| other.method == route.method) {
                return Err(BadRoute::Twice(label()));
            }
            routes.push(route);
            return Ok(());
        }
        let inserted = self.places.insert(route.path.to_string(), self.paths.len());
        inserted
            .map_err(|error| BadRoute::Path { route: label(), reason: error.to_string().into() })?;
        self.paths.push(vec![route]);
        Ok(())
    }

    /// The routes, those of one path together.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.paths.iter().flatten()
    }

    /// The route of a request.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<&Route> {
        let place = self.places.at(path).ok()?.value;
        let routes = self.paths.get(*place)?;
        let exact = routes.iter().find(|route| route.method == method);
        exact.or_else(|| routes.iter().find(|route| route.is_for(method)))
    }
}

/// A line for each route.
impl fmt::Display for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for route in self.iter() {
            writeln!(f, "{route}")?;
        }
        writeln!(
            f,
            "{:<7} {:<32} publishable for GET, HEAD and OPTIONS without content, otherwise signed",
            "other", "*"
        )
    }
}
