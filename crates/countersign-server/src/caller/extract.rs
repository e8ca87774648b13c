//! The axum extractors. The layer decides; the extractors only deliver.

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Request, request::Parts};

use super::{Caller, SignedCaller, verification::Verification};

/// Extracts the caller of a signed request, and `T` from its verified content, as in `Signed<Json<Order>>`.
///
/// A handler with this extractor cannot run on an unsigned request. Its content is the signed content, byte for byte, whatever
/// other layers did to the body.
///
/// On a [streamed](crate::Route::streamed) route, `T` reads the request's own body, for example `Signed<Body>` piece by piece.
/// There, layers between the verifier and the handler can change the content.
///
/// ```
/// use axum::Json;
/// use countersign_server::Signed;
/// use countersign_test::signed_caller;
///
/// async fn add(Signed(caller, Json(number)): Signed<Json<u32>>) -> String {
///     format!("{} ordered {number}", caller.application().name)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A test can call the handler as a function.
/// assert_eq!(add(Signed(signed_caller(), Json(7))).await, "shop ordered 7");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Signed<T>(pub SignedCaller, pub T);

/// Extracts the caller of a signed request, without its content: for signed reads.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign_server::SignedBy;
///
/// async fn secret(SignedBy(caller): SignedBy) -> String {
///     format!("for {} alone", caller.credential().label)
/// }
///
/// let app: Router = Router::new().route("/v1/secret", get(secret)); // inside of the verifier's layer
/// ```
#[derive(Clone, Debug)]
pub struct SignedBy(pub SignedCaller);

/// Extracts the caller of a request with a publishable key or a signature; [`Caller::proof`] says which.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign_server::{Proof, Publishable};
///
/// async fn list(Publishable(caller): Publishable) -> &'static str {
///     match caller.proof() {
///         Proof::Signed => "all orders",
///         Proof::Publishable => "the public ones",
///     }
/// }
///
/// let app: Router = Router::new().route("/v1/orders", get(list)); // inside of the verifier's layer
/// ```
#[derive(Clone, Debug)]
pub struct Publishable(pub Caller);

impl<S: Sync, T: FromRequest<S>> FromRequest<S> for Signed<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let caller = SignedCaller::of_head(&head)?;
        // On a streamed route the verifier compares the request's own body as it arrives.
        let body = Verification::of(&head)?.content.clone().map_or(body, Body::from);
        let mut request = Request::from_parts(head, body);
        // The verifier has already limited the content.
        DefaultBodyLimit::disable().apply(&mut request);
        let content = T::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self(caller, content))
    }
}

impl<S: Sync> FromRequestParts<S> for SignedBy {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Response> {
        SignedCaller::of_head(&*head).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Publishable {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Response> {
        Caller::of_head(&*head).map(Self)
    }
}

/// `None` if the request is unsigned or would be refused: for open routes, and for routes that move to signatures.
impl<S: Sync> OptionalFromRequestParts<S> for SignedBy {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        Ok(Verification::of(&*head)?.signed().map(Self))
    }
}

/// `None` on an open route if the request is unsigned; a publishable key is not looked up there. `None` on a route that moves to
/// signatures if the request would be refused.
impl<S: Sync> OptionalFromRequestParts<S> for Publishable {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        Ok(Verification::of(&*head)?.caller.clone().map(Self))
    }
}
