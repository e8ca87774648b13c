use std::time::Duration;

use countersign::{
    ACCEPT_SIGNATURE, CONTENT_DIGEST, METHODS, REFUSAL, SIGNATURE, SIGNATURE_INPUT,
    WANT_CONTENT_DIGEST, X_API_KEY,
};
use http::{HeaderName, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long browsers may remember the response to a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Lets pages of these origins call the API and read its responses, for publishable reads and signed requests.
///
/// Put this layer outside of the verifier, so that it responds to preflights: they carry no key, and have no effect. It treats
/// every `OPTIONS` request as a preflight, so that handlers never see such requests. `AllowOrigin::any()` is right for data that
/// anyone with a publishable key may have. Cookies are not allowed, so a page cannot use its visitor's cookies.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use countersign_server::{Verifier, cors};
/// # use countersign_store::{KeyStore, Gate};
/// use tower_http::cors::AllowOrigin;
///
/// # fn app<K: KeyStore, G: Gate>(verifier: Verifier<K, G>) -> Router {
/// let router = Router::new().route("/v1/orders", get(async || "none"));
/// router.layer(verifier.layer()).layer(cors(AllowOrigin::any()))
/// # }
/// ```
pub fn cors(origins: AllowOrigin) -> CorsLayer {
    let sent = [
        X_API_KEY,
        SIGNATURE,
        SIGNATURE_INPUT,
        CONTENT_DIGEST,
        HeaderName::from_static("idempotency-key"),
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
    ];
    let told = [
        ACCEPT_SIGNATURE,
        CONTENT_DIGEST,
        REFUSAL,
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        header::RETRY_AFTER,
        SIGNATURE,
        SIGNATURE_INPUT,
        WANT_CONTENT_DIGEST,
        header::WWW_AUTHENTICATE,
        HeaderName::from_static("x-request-id"),
    ];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(METHODS)
        .allow_headers(sent)
        .expose_headers(told)
        .max_age(MAX_AGE)
}
