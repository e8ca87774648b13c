use std::collections::HashMap;

use http::Method;

use super::route_settings::RouteSettings;

/// A setting of routes, found by method and path.
#[derive(Clone, Debug)]
pub(crate) struct RouteFinder<T> {
    places: matchit::Router<HashMap<Method, T>>,
}

impl<T: Copy> RouteFinder<T> {
    pub(crate) fn new(routes: &[RouteSettings], setting: impl Fn(&RouteSettings) -> T) -> Self {
        let mut by_path: HashMap<&str, HashMap<Method, T>> = HashMap::new();
        for route in routes {
            by_path.entry(route.path()).or_default().insert(route.method().clone(), setting(route));
        }
        let mut places = matchit::Router::new();
        for (path, settings) in by_path {
            // The table of the routes was made of the same paths.
            if let Err(error) = places.insert(path, settings) {
                tracing::error!(path, %error, "a route has its default settings");
            }
        }
        Self { places }
    }

    /// Returns the setting of the route of a request. `GET` includes `HEAD`.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<T> {
        let found = self.places.at(path).ok()?.value;
        let of_get = || found.get(&Method::GET).filter(|_| *method == Method::HEAD);
        found.get(method).or_else(of_get).copied()
    }
}
