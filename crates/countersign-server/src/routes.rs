use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    response::IntoResponse,
    routing::{self, MethodFilter, MethodRouter, on},
};
use countersign_store::{Gate, KeyStore};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    route::{
        Route,
        table::{BadRoute, RouteTable},
    },
    verifier::{Verifier, demand::Behind},
};

/// Routes with their handlers, for [`Verifier::protect`].
///
/// ```
/// use axum::http::Method;
/// use countersign_server::{Publishable, Route, Routes, SignedBy};
/// use countersign_store::Scope;
///
/// async fn list(Publishable(caller): Publishable) -> String {
///     format!("the orders of {}", caller.application().name)
/// }
///
/// async fn cancel(SignedBy(caller): SignedBy) -> String {
///     format!("cancelled by {}", caller.credential().label)
/// }
///
/// let routes: Routes = Routes::new()
///     .route(Route::read("/v1/orders"), list)
///     .route(
///         Route::signed(Method::DELETE, "/v1/orders/{id}").scope(Scope::from_static("orders:write")),
///         cancel,
///     );
/// println!("{}", routes.table()?);
/// # Ok::<(), countersign_server::BadRoute>(())
/// ```
#[derive(Debug)]
pub struct Routes<S = ()> {
    declared: Vec<(Route, MethodRouter<S>)>,
    undeclared: Router<S>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { declared: Vec::new(), undeclared: Router::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Makes an empty list of routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route and its handler.
    pub fn route<H: Handler<T, S>, T: 'static>(mut self, route: Route, handler: H) -> Self {
        // If axum has no filter for the method, the table refuses the route later.
        let handlers = match MethodFilter::try_from(route.method().clone()) {
            Ok(filter) => on(filter, handler),
            Err(_) => MethodRouter::new(),
        };
        self.declared.push((route, handlers));
        self
    }

    /// Adds routes below a prefix. Unlike in a nested router, handlers of declared routes see the whole path.
    ///
    /// # Panics
    ///
    /// As `Router::nest` does, for a prefix below which undeclared routes cannot be nested.
    pub fn nest(mut self, prefix: &str, routes: Self) -> Self {
        let below = |(route, handlers): (Route, _)| (route.below(prefix), handlers);
        self.declared.extend(routes.declared.into_iter().map(below));
        if routes.undeclared.has_routes() {
            self.undeclared = self.undeclared.nest(prefix, routes.undeclared);
        }
        self
    }

    /// Adds the routes of a router without a declaration. [`Access::by_default`](crate::Access::by_default) decides what they
    /// require.
    pub fn undeclared(mut self, router: Router<S>) -> Self {
        self.undeclared = self.undeclared.merge(router);
        self
    }

    /// Puts a layer around each route that was added before this call. The layer stands inside the verifier, which checks the
    /// request first, and outside the handlers.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<routing::Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let around =
            |(route, handlers): (_, MethodRouter<S>)| (route, handlers.layer(layer.clone()));
        self.declared = self.declared.into_iter().map(around).collect();
        if self.undeclared.has_routes() {
            self.undeclared = self.undeclared.route_layer(layer);
        }
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        let declared = self.declared.into_iter();
        Routes {
            declared: declared
                .map(|(route, handlers)| (route, handlers.with_state(state.clone())))
                .collect(),
            undeclared: self.undeclared.with_state(state),
        }
    }

    /// Returns the handlers as a router, without the declarations.
    pub(crate) fn without_verifier(self) -> Router<S> {
        let declared = self.declared.into_iter();
        declared
            .fold(self.undeclared, |router, (route, handlers)| router.route(route.path(), handlers))
    }

    /// Returns the table of the declared routes.
    ///
    /// # Errors
    ///
    /// [`BadRoute`].
    pub fn table(&self) -> Result<RouteTable, BadRoute> {
        RouteTable::new(self.declared.iter().map(|(route, _)| route.clone()))
    }
}

impl<K: KeyStore, G: Gate> Verifier<K, G> {
    /// Makes the finished router: these routes, with this verifier around each of them.
    ///
    /// The router finds the route of a request, and the verifier applies that route's declaration. So the two never take a path
    /// for different routes.
    ///
    /// # Errors
    ///
    /// [`BadRoute`].
    ///
    /// # Panics
    ///
    /// As `Router::route` does, if an undeclared route overlaps a declared one.
    pub fn protect(self, routes: Routes) -> Result<Router, BadRoute> {
        routes.table()?;
        let Routes { declared, undeclared } = routes;
        let layer = self.layer();
        let undeclared = undeclared.layer(layer.before(Behind::Undeclared));
        Ok(declared.into_iter().fold(undeclared, |router, (route, handlers)| {
            let path = route.path().to_owned();
            router.route(&path, handlers.layer(layer.before(Behind::Route(Arc::new(route)))))
        }))
    }
}
