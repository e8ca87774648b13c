//! The axum extractors. The layer decides, the extractors deliver.

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Request, request::Parts};

use super::{Caller, SignedCaller, verification::Verification};

/// The caller of a signed request, and what `T` extracts from its verified content, as in `Signed<Json<Order>>`.
///
/// A handler that takes this cannot run on an unsigned request, and the content it gets is the content that was signed,
/// byte for byte, whatever other layers did to the body.
///
/// On a route that is [streamed](crate::Route::streamed), `T` reads the request's own body, as `Signed<Body>` does piece by
/// piece; layers between the verifier and the handler can change it there.
#[derive(Clone, Debug)]
pub struct Signed<T>(pub SignedCaller, pub T);

/// The caller of a signed request, without its content. For signed reads.
#[derive(Clone, Debug)]
pub struct SignedBy(pub SignedCaller);

/// The caller of a request that carried at least a publishable key; [`Caller::proof`] tells whether it was signed.
#[derive(Clone, Debug)]
pub struct Publishable(pub Caller);

impl<S: Sync, T: FromRequest<S>> FromRequest<S> for Signed<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let caller = SignedCaller::of_head(&head)?;
        // Where it is streamed, the verifier compares the request's own body on its way in.
        let body = Verification::of(&head)?.content.clone().map_or(body, Body::from);
        let mut request = Request::from_parts(head, body);
        // The verifier has a limit of its own.
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

/// For open routes, and for routes that move to signatures: `None` if the request is unsigned or would be refused.
impl<S: Sync> OptionalFromRequestParts<S> for SignedBy {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        Ok(Verification::of(&*head)?.signed().map(Self))
    }
}

/// For open routes: `None` if the request is unsigned, also with a publishable key, which is not looked up there. For routes that
/// move to signatures: `None` if the request would be refused.
impl<S: Sync> OptionalFromRequestParts<S> for Publishable {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        Ok(Verification::of(&*head)?.caller.clone().map(Self))
    }
}
