use std::time::Duration;

use countersign::METHODS;
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
    let ours = ["x-api-key", "signature", "signature-input", "content-digest", "idempotency-key"];
    let told = [
        "accept-signature",
        "content-digest",
        "countersign-refusal",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "signature",
        "signature-input",
        "want-content-digest",
        "www-authenticate",
        "x-request-id",
    ];
    let sent = ours.map(HeaderName::from_static).into_iter();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(METHODS)
        .allow_headers(
            sent.chain([header::AUTHORIZATION, header::CONTENT_TYPE]).collect::<Vec<_>>(),
        )
        .expose_headers(told.map(HeaderName::from_static))
        .max_age(MAX_AGE)
}
