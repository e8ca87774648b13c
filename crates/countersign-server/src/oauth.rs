//! Access tokens (OAuth 2.0) beside signatures: who the application acts for, next to which application it is.

mod access_token;
pub(crate) mod bad_token;
#[cfg(feature = "axum")]
mod bearer;
mod remote_token_keys;
mod require_bearer;
mod token_keys;

#[cfg(feature = "axum")]
pub use self::bearer::Bearer;
pub use self::{
    access_token::AccessToken,
    remote_token_keys::{FetchError, RemoteTokenKeys},
    require_bearer::{BadBearer, BadLeeway, IssuerKeys, RequireBearer, RequireBearerService},
    token_keys::{BadJwks, TokenKeys},
};
