use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::Response,
};
use http::request::Parts;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{access_token::AccessToken, bad_token::BadToken, require_bearer::Checked};
use crate::{caller::verification::Verification, refusal::reason::Reason};

/// Extracts the access token of a signed request, and its claims as `C`. Together with [`SignedBy`](crate::SignedBy) or
/// [`Signed`](crate::Signed) a handler knows the calling application and the user that it acts for.
///
/// Put [`RequireBearer`](crate::RequireBearer) around the route. To read only the registered claims, write
/// `Bearer(token, _): Bearer`.
#[derive(Clone, Debug)]
pub struct Bearer<C = IgnoredAny>(pub AccessToken, pub C);

impl<C: DeserializeOwned> Bearer<C> {
    fn of(head: &Parts) -> Result<Self, Reason> {
        let token = match head.extensions.get().ok_or(Reason::NoTokenLayer)? {
            Checked::Passed(token) => token.clone(),
            Checked::Excused(reason) => return Err(reason.clone()),
        };
        let claims = token.claims().map_err(|_| {
            // The error is left out of the log, since it has values of the token.
            let wanted = std::any::type_name::<C>();
            tracing::debug!(wanted, "the claims of an access token are not what a handler reads");
            BadToken::OtherClaims
        })?;
        Ok(Self(token, claims))
    }
}

impl<S: Sync, C: DeserializeOwned> FromRequestParts<S> for Bearer<C> {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Response> {
        let verification = Verification::of(&*head)?;
        Self::of(head).map_err(|reason| verification.refuse(&*head, reason))
    }
}

/// For routes that move to signatures: `None` if the request would be refused.
impl<S: Sync, C: DeserializeOwned> OptionalFromRequestParts<S> for Bearer<C> {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        let verification = Verification::of(&*head)?;
        match Self::of(head) {
            Ok(bearer) => Ok(Some(bearer)),
            Err(reason @ Reason::NoTokenLayer) => Err(verification.refuse(&*head, reason)),
            Err(_) => Ok(None),
        }
    }
}
