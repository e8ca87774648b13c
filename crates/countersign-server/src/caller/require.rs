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
        reason::Reason,
        unaccepted::{Cause, Unaccepted},
    },
    route::access::Access,
    telemetry,
};

/// Asks for more on the routes behind it, for every method. Made for `Router::route_layer`; it works only inside of
/// a [`VerifierLayer`](crate::VerifierLayer).
///
/// On an observed route every request passes, and the layer counts and logs the requests that it would refuse; on a route that is
/// off the layer does nothing. It refuses after the nonce of a signed request was claimed. A declared [`Route`](crate::Route) asks
/// before that.
#[derive(Clone, Debug)]
pub struct Require {
    access: Access,
    scopes: Scopes,
}

impl Require {
    /// Asks for a signature.
    pub fn signed() -> Self {
        Self { access: Access::Signed, scopes: Scopes::default() }
    }

    /// Asks for a publishable key or a signature.
    pub fn publishable() -> Self {
        Self { access: Access::Publishable, scopes: Scopes::default() }
    }

    /// Asks for one more scope of the credential.
    ///
    /// An unsigned read has been charged to the budgets of its key by then, which tells a good key without the scope from an
    /// unknown key. [`Route::scope`](crate::Route::scope) is checked before.
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
        match caller.proof() {
            Proof::Signed => Err(Reason::MissingScope(scope.clone())),
            Proof::Publishable => {
                let cause = Cause::MissingScope(scope.clone());
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

/// The response to a request that lacks what is asked for. The verifier outside takes the cause from it, which no caller is told.
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
