use std::fmt;

use countersign::METHODS;
use http::Method;

use super::{Route, access::Access};

/// All declared routes, for [`Verifier::routes`](crate::Verifier::routes).
///
/// Print it to see the list. [`Access::by_default`](crate::Access::by_default) decides what routes outside the table require.
///
/// ```
/// use countersign_server::{Route, RouteTable};
/// use http::Method;
///
/// let table = RouteTable::new([
///     Route::read("/v1/orders/{id}"),
///     Route::signed(Method::DELETE, "/v1/orders/{id}"),
/// ])?;
/// println!("{table}"); // as `countersign usage routes --routes` reads it
/// # Ok::<(), countersign_server::BadRoute>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Grouped by path, in the order in which the paths were declared.
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
    /// A path is invalid, or overlaps the path of another route.
    #[error("the path of the route {route} cannot be served: {reason}")]
    Path {
        /// The route's method and path.
        route: Box<str>,
        /// The fault in the path.
        reason: Box<str>,
    },
    /// An open route requires a scope, which the verifier would not check.
    #[error(
        "the route {0} is open and asks for a scope; declare it as read or signed, or without the scope"
    )]
    Open(Box<str>),
    /// Verifiers refuse the route's method.
    #[error(
        "the method of the route {0} is not one of GET, HEAD, OPTIONS, POST, PUT, PATCH and DELETE"
    )]
    Method(Box<str>),
}

impl RouteTable {
    /// Makes the table of these routes.
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
        // The syntax of earlier axum versions. axum refuses it, too.
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

    /// Returns the routes, grouped by path.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.paths.iter().flatten()
    }

    /// Returns the route of a request.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<&Route> {
        let place = self.places.at(path).ok()?.value;
        let routes = self.paths.get(*place)?;
        let exact = routes.iter().find(|route| route.method == method);
        exact.or_else(|| routes.iter().find(|route| route.is_for(method)))
    }
}

/// Writes a line for each route.
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
