use std::task::{Context, Poll};

use countersign_store::{Scope, Scopes};
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Caller, Proof,
    verification::{Head, Verification},
};
use crate::{
    BoxFuture,
    content::guarded_body::GuardedBody,
    refusal::{
        forbidden::Forbidden,
        reason::Reason,
        unaccepted::{Cause, Unaccepted},
    },
    route::access::Access,
    telemetry,
};

/// Requires more of requests to the routes behind it, whatever their method. Made for `Router::route_layer`; works only inside of
/// a [`VerifierLayer`](crate::VerifierLayer).
///
/// On an observed route every request passes, and the layer counts and logs the requests that it would refuse. On a route that is
/// off the layer does nothing. It refuses after the nonce of a signed request was claimed. A declared [`Route`](crate::Route)
/// refuses before that.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign_server::Require;
/// use countersign_store::Scope;
///
/// // Reads of invoices need a signature and a scope, although `GET` needs a publishable key only by default.
/// let invoices = Require::signed().scope(Scope::from_static("invoices:read"));
/// let app: Router = Router::new()
///     .route("/v1/invoices", get(async || "none"))
///     .route_layer(invoices); // inside of the verifier's layer
/// ```
#[derive(Clone, Debug)]
pub struct Require {
    access: Access,
    scopes: Scopes,
}

impl Require {
    /// Requires a signature.
    pub fn signed() -> Self {
        Self { access: Access::Signed, scopes: Scopes::default() }
    }

    /// Requires a publishable key or a signature.
    pub fn publishable() -> Self {
        Self { access: Access::Publishable, scopes: Scopes::default() }
    }

    /// Requires one more scope of the credential.
    ///
    /// By then an unsigned read has been charged to its key's budgets, so that a caller can tell a good key without the scope
    /// from an unknown key. [`Route::scope`](crate::Route::scope) is checked before the charge.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scopes.insert(scope);
        self
    }

    fn check(&self, verification: &Verification) -> Result<(), Reason> {
        let caller = verification.checked_caller();
        self.check_caller(caller).or_else(|reason| verification.excuse(reason).map(drop))
    }

    fn check_caller(&self, caller: Option<&Caller>) -> Result<(), Reason> {
        let caller = match (self.access, caller) {
            (Access::Open, None) => return Ok(()),
            (Access::Publishable, None) => return Err(Reason::KeyRequired),
            (Access::Signed, None) => return Err(Reason::SignatureRequired),
            (Access::Signed, Some(caller)) if caller.proof() == Proof::Publishable => {
                return Err(Reason::SignatureRequired);
            }
            (_, Some(caller)) => caller,
        };
        let Some(scope) = caller.credential().scopes.missing(&self.scopes) else { return Ok(()) };
        let forbidden = Forbidden::MissingScope(scope.clone());
        match caller.proof() {
            Proof::Signed => Err(Reason::Forbidden(forbidden)),
            Proof::Publishable => {
                let cause = Cause::Forbidden(forbidden);
                telemetry::count_unaccepted(&cause);
                let credential = Some(caller.credential().id);
                Err(Reason::Unaccepted(Unaccepted { cause, credential }))
            }
        }
    }
}

impl<S> Layer<S> for Require {
    type Service = RequireService<S>;

    fn layer(&self, service: S) -> Self::Service {
        RequireService { required: self.clone(), service }
    }
}

/// Returns the response to a request that does not meet the requirements. Puts the cause into its extensions for the verifier
/// outside; the caller is not told the cause.
fn refuse<C>(
    reason: Reason,
    verification: &Verification,
    head: Head<'_>,
) -> Response<GuardedBody<C>> {
    let unaccepted = match &reason {
        Reason::Unaccepted(unaccepted) => Some(unaccepted.clone()),
        _ => None,
    };
    let mut response = verification.refuse(head, reason);
    if let Some(unaccepted) = unaccepted {
        response.extensions_mut().insert(unaccepted);
    }
    response
}

/// A service behind [`Require`].
#[derive(Clone, Debug)]
pub struct RequireService<S> {
    required: Require,
    service: S,
}

impl<S, B, C> Service<Request<B>> for RequireService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    C: Send + 'static,
{
    type Response = Response<GuardedBody<C>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refused = match Verification::of(&request) {
            Ok(verification) => match self.required.check(verification) {
                Ok(()) => {
                    let response = self.service.call(request);
                    return Box::pin(async { Ok(response.await?.map(GuardedBody::unguarded)) });
                }
                Err(reason) => refuse(reason, verification, Head::from(&request)),
            },
            Err(response) => response,
        };
        Box::pin(std::future::ready(Ok(refused)))
    }
}
