use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use countersign::{Rejection, Unmet};
use countersign_store::{Scope, Scopes};
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use jsonwebtoken::{Header, Validation, decode, decode_header, errors::ErrorKind};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    access_token::{AccessToken, Binding},
    bad_token::BadToken,
    remote_token_keys::RemoteTokenKeys,
    token_keys::{TokenKey, TokenKeys},
};
use crate::{
    BoxFuture,
    caller::{Caller, verification::Verification},
    content::guarded_body::GuardedBody,
    refusal::reason::Reason,
};

/// The longest token, in bytes.
const MOST_BYTES: usize = 8 * 1024;
const MOST_LEEWAY: Duration = Duration::from_secs(60);

/// The error for a leeway that is too long, or not in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the leeway is not whole seconds, or more than 60 s; set the clocks by NTP and allow for less"
)]
pub struct BadLeeway;

/// Why the issuer or the audience cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBearer {
    /// The issuer is empty or white space.
    #[error("the issuer is empty; name it as the claim `iss` of its tokens does")]
    NoIssuer,
    /// The audience is empty or white space.
    #[error("the audience is empty; name this service as the claim `aud` of its tokens does")]
    NoAudience,
}

/// Requires an access token (RFC 9068) beside the signature, on the routes behind it. Made for `Router::route_layer`; works only
/// inside of a [`VerifierLayer`](crate::VerifierLayer).
///
/// The token is a JWT in a single field `Authorization: Bearer …`. The signature must cover that field: a token that was added on
/// the way, or copied from another request, does not count. A token with a claim `cnf.jkt` is valid only in requests signed with
/// the key of that thumbprint (RFC 7638). A token with any other `cnf` is refused.
///
/// The token's `kid` names a key of the issuer. The token's signature must verify with that key and the key's algorithm. The
/// claims `iss`, `aud`, `exp` and `sub` are required. `exp` and `nbf` are checked by the verifier's clock. `typ` is `at+jwt`.
///
/// On an observed route a request that the layer would refuse passes without a token, and is counted and logged as by
/// [`Require`](crate::Require). On a route that is off, every request passes. The layer refuses after the nonce of a request was
/// claimed, so that only requests with a valid signature make it read a token or fetch a key.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign_server::{Bearer, RemoteTokenKeys, RequireBearer, SignedBy};
///
/// async fn mine(SignedBy(caller): SignedBy, Bearer(token, _): Bearer) -> String {
///     format!("{} asks for {}", caller.application().name, token.subject())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = RemoteTokenKeys::new("https://login.example.com/jwks.json")?; // fetched at the first request
/// let token = RequireBearer::new("https://login.example.com", "https://api.example.com", keys)?;
/// let app: Router = Router::new().route("/v1/mine", get(mine)).route_layer(token);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RequireBearer {
    keys: IssuerKeys,
    validation: Validation,
    leeway: Duration,
    types: Types,
    binding: Binding,
    scopes: Scopes,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IssuerKeys {
    /// A fixed set of keys, for as long as the process runs.
    Fixed(TokenKeys),
    /// Keys that are fetched from the issuer.
    Remote(RemoteTokenKeys),
}

impl From<TokenKeys> for IssuerKeys {
    fn from(keys: TokenKeys) -> Self {
        Self::Fixed(keys)
    }
}

impl From<RemoteTokenKeys> for IssuerKeys {
    fn from(keys: RemoteTokenKeys) -> Self {
        Self::Remote(keys)
    }
}

impl IssuerKeys {
    async fn find(&self, header: &Header) -> Result<Arc<TokenKey>, BadToken> {
        let (kid, algorithm) = (header.kid.as_deref(), header.alg);
        match self {
            Self::Fixed(keys) => keys.find(kid, algorithm),
            Self::Remote(keys) => keys.find(kid, algorithm).await,
        }
    }
}

/// The accepted values of a token's `typ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Types {
    /// `at+jwt` (RFC 9068 §2.1).
    #[default]
    AccessToken,
    /// `at+jwt`, `JWT`, or no `typ`.
    AnyJwt,
}

impl RequireBearer {
    /// Accepts tokens of this issuer for this audience: `iss` must equal the issuer, and an element of `aud` the audience, to the
    /// letter.
    ///
    /// # Errors
    ///
    /// [`BadBearer`] if the issuer or the audience is empty, as from an environment variable that is not set.
    pub fn new(
        issuer: &str,
        audience: &str,
        keys: impl Into<IssuerKeys>,
    ) -> Result<Self, BadBearer> {
        if issuer.trim().is_empty() {
            return Err(BadBearer::NoIssuer);
        }
        if audience.trim().is_empty() {
            return Err(BadBearer::NoAudience);
        }
        // The algorithm is set later, to the key's.
        let mut validation = Validation::default();
        validation.set_required_spec_claims(&["iss", "aud"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // The verifier's clock checks these.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        Ok(Self {
            keys: keys.into(),
            validation,
            leeway: Duration::from_secs(10),
            types: Types::default(),
            binding: Binding::default(),
            scopes: Scopes::default(),
        })
    }

    /// Sets how far the issuer's clock may differ from this server's. Default: 10 s. Tokens stay valid for this long after they
    /// expire.
    ///
    /// # Errors
    ///
    /// [`BadLeeway`] if the leeway is above 60 s, or not in whole seconds.
    pub fn leeway(mut self, leeway: Duration) -> Result<Self, BadLeeway> {
        if leeway > MOST_LEEWAY || leeway.subsec_nanos() > 0 {
            return Err(BadLeeway);
        }
        self.leeway = leeway;
        Ok(self)
    }

    /// Requires one more scope of the token. For scopes of the credential use [`Route::scope`](crate::Route::scope).
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scopes.insert(scope);
        self
    }

    /// Refuses tokens that are not bound to a key, so that a stolen token is useless to other callers.
    pub fn require_key_binding(mut self) -> Self {
        self.binding = Binding::Required;
        self
    }

    /// Also accepts tokens with the `typ` `JWT` or without a `typ`, for issuers that do not follow RFC 9068.
    ///
    /// Anything else that the issuer signs for this audience, such as an ID token, is then accepted as an access token.
    pub fn insecure_allow_typ_jwt(mut self) -> Self {
        self.types = Types::AnyJwt;
        self
    }

    async fn check(
        &self,
        verification: &Verification,
        headers: &HeaderMap,
    ) -> Result<AccessToken, Reason> {
        let caller = verification.checked_caller().ok_or(Reason::SignatureRequired)?;
        let signed = caller.signed_use().ok_or(Reason::SignatureRequired)?;
        let token = match &signed.authorization {
            Some(authorization) => bearer(authorization)?,
            None if headers.contains_key(AUTHORIZATION) => {
                let field = Unmet::PresentField(AUTHORIZATION.to_string());
                return Err(Rejection::from(field).into());
            }
            None => return Err(BadToken::Missing.into()),
        };
        Ok(self.check_token(token, caller, verification).await?)
    }

    async fn check_token(
        &self,
        token: &str,
        caller: &Caller,
        verification: &Verification,
    ) -> Result<AccessToken, BadToken> {
        if token.len() > MOST_BYTES {
            return Err(BadToken::Malformed);
        }
        let header = decode_header(token).map_err(|_| BadToken::Malformed)?;
        self.types.check(header.typ.as_deref())?;
        let key = self.keys.find(&header).await?;
        let mut validation = self.validation.clone();
        validation.algorithms = vec![key.algorithm];
        let decoded = decode(token, &key.key, &validation).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => BadToken::Signature,
            ErrorKind::InvalidAlgorithm => BadToken::Algorithm,
            ErrorKind::InvalidIssuer => BadToken::Issuer,
            ErrorKind::InvalidAudience => BadToken::Audience,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                BadToken::Claim(if claim == "iss" { "iss" } else { "aud" })
            }
            _ => BadToken::Malformed,
        })?;
        let token = AccessToken::new(decoded.claims, verification.judge.now, self.leeway)?;
        token.check_binding(caller.credential(), self.binding)?;
        token.check_scopes(&self.scopes)?;
        Ok(token)
    }
}

/// Returns the token of `Bearer <token>` (RFC 6750 §2.1). Scheme names are case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &HeaderValue) -> Result<&str, BadToken> {
    let text = authorization.to_str().map_err(|_| BadToken::Missing)?.trim_ascii();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(token.trim_start_matches(' '))
        }
        _ => Err(BadToken::Missing),
    }
}

impl Types {
    /// Checks a `typ`: a media type, case-insensitive, with or without `application/` (RFC 7515 §4.1.9).
    fn check(self, typ: Option<&str>) -> Result<(), BadToken> {
        let typ = typ.map(str::to_ascii_lowercase);
        let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        match (typ, self) {
            (Some("at+jwt"), _) | (None | Some("jwt"), Self::AnyJwt) => Ok(()),
            _ => Err(BadToken::Type),
        }
    }
}

/// The result of the token's check, for the extractor.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "the extractor reads it"))]
pub(super) enum Checked {
    Passed(AccessToken),
    /// The layer would refuse the request, but the route does not enforce it.
    Excused(Reason),
}

impl<S> Layer<S> for RequireBearer {
    type Service = RequireBearerService<S>;

    fn layer(&self, service: S) -> Self::Service {
        RequireBearerService { required: Arc::new(self.clone()), service }
    }
}

/// A service behind [`RequireBearer`].
#[derive(Clone, Debug)]
pub struct RequireBearerService<S> {
    required: Arc<RequireBearer>,
    service: S,
}

impl<S, B, C> Service<Request<B>> for RequireBearerService<S>
where
    S: Service<Request<B>, Response = Response<C>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<GuardedBody<C>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Calls the instance that was polled ready, and keeps the clone.
        let waiting = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, waiting);
        let required = Arc::clone(&self.required);
        Box::pin(async move {
            let verification = match Verification::of(&request) {
                Ok(verification) => verification,
                Err(response) => return Ok(response),
            };
            let checked = match required.check(verification, request.headers()).await {
                // The content was not verified, so the handler learns of no caller.
                Ok(_) if verification.caller.is_none() => {
                    Checked::Excused(Reason::SignatureRequired)
                }
                Ok(token) => Checked::Passed(token),
                Err(reason) => match verification.excuse(reason) {
                    Ok(reason) => Checked::Excused(reason),
                    Err(reason) => return Ok(verification.refuse(&request, reason)),
                },
            };
            match &checked {
                Checked::Passed(token) => request.extensions_mut().insert(token.clone()),
                Checked::Excused(_) => request.extensions_mut().remove(),
            };
            request.extensions_mut().insert(checked);
            Ok(service.call(request).await?.map(GuardedBody::unguarded))
        })
    }
}
