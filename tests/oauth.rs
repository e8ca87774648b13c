//! Access tokens beside signatures: which are taken, which are refused and how, and where the keys of their issuer come from.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::Request,
    handler::Handler,
    middleware::map_request,
    routing::{get, post},
};
use countersign::{PrivateKey, Timestamp};
use countersign_server::{
    AccessToken, BadBearer, BadJwks, BadLeeway, Bearer, FetchError, RemoteTokenKeys, RequireBearer,
    Route, Routes, Signed, SignedBy, TokenKeys,
};
use countersign_store::Scope;
use harness::{
    Answer, ISSUER, IssuerKey, JwksServer, NOW, Raw, Service, TestClock, claims, claims_with,
    exchange, exchange_http2, key, thumbprint, token_of, verifier,
};
use http::{HeaderValue, Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

const AUDIENCE: &str = "https://api.example.com";
const WRITE: Scope = Scope::from_static("orders:write");

/// What the service itself reads of a token.
#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: u64,
}

async fn add(
    Bearer(token, Tenant { tenant }): Bearer<Tenant>,
    Signed(caller, Json(order)): Signed<Json<Value>>,
) -> String {
    let (application, label) = (&caller.application().name, &caller.credential().label);
    format!("{application}/{label} for {} of {tenant}: {order}", token.subject())
}

async fn read(SignedBy(caller): SignedBy, Bearer(token, _): Bearer) -> String {
    let (label, scopes) = (&caller.credential().label, token.scopes().collect::<Vec<_>>());
    let client = token.client_id().unwrap_or_default();
    format!("{label} for {} by {client}, {scopes:?}", token.subject())
}

/// All keys that the issuer of most tests has.
fn issuer_keys() -> [IssuerKey; 5] {
    [
        ed25519(),
        IssuerKey::of(Algorithm::RS256),
        IssuerKey::of(Algorithm::PS512),
        IssuerKey::of(Algorithm::ES256),
        IssuerKey::of(Algorithm::ES384),
    ]
}

fn ed25519() -> IssuerKey {
    IssuerKey::ed25519("2026-11", 77)
}

fn token_keys() -> TokenKeys {
    let keys = issuer_keys().map(|key| key.jwk());
    TokenKeys::from_jwks(&json!({ "keys": keys }).to_string()).unwrap()
}

fn required() -> RequireBearer {
    RequireBearer::new(ISSUER, AUDIENCE, token_keys()).unwrap()
}

fn routes(required: RequireBearer) -> Router {
    Router::new().route("/v1/orders", post(add).get(read)).route_layer(required)
}

async fn serve(routes: Router) -> Service {
    let clock = TestClock::default();
    let app = routes.layer(verifier(&clock, Service::keys(), Service::nonces()).layer());
    Service::serve(clock, app, Arc::default()).await
}

/// The time so many seconds from now.
fn at(from_now: i64) -> u64 {
    NOW.unix().checked_add_signed(from_now).unwrap()
}

fn order(token: &str) -> Raw {
    Raw::order().add("Authorization", format!("Bearer {token}"))
}

async fn send(service: &Service, request: &Raw) -> Answer {
    exchange(service.address, &request.bytes()).await
}

/// What refused it: the status, the code, and what the Bearer challenge says.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let bearer = |(name, value): &&(String, String)| {
        name == "www-authenticate" && value.starts_with("Bearer ")
    };
    let challenge = answer.headers.iter().find(bearer).map(|(_, value)| value.clone());
    (answer.status, answer.code(), challenge.unwrap_or_default())
}

const REALM: &str = r#"Bearer realm="countersign""#;

fn invalid(description: &str) -> (u16, String, String) {
    let error =
        format!(r#"error="invalid_token", error_description="the access token {description}""#);
    (401, "token-invalid".into(), format!("{REALM}, {error}"))
}

#[tokio::test]
async fn a_handler_is_told_which_application_calls_and_whom_it_acts_for() {
    let service = serve(routes(required())).await;
    let token = ed25519().token(&claims());
    let answer = send(&service, &order(&token).signed()).await;
    let expected = r#"shop/key 1 for customer-7 of 42: {"item":"book"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    let read = Raw::read().add("Authorization", format!("Bearer {token}")).signed();
    let answer = send(&service, &read).await;
    let expected = r#"key 1 for customer-7 by shop-web, ["orders:write", "orders:read"]"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    let answer = exchange_http2(service.address, &order(&token).signed().http2()).await.answer();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn tokens_that_are_in_order_are_taken() {
    let service = serve(routes(required())).await;
    let taken = async |case: &str, request: Raw| {
        let answer = send(&service, &request.signed()).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.body);
    };
    for key in issuer_keys() {
        taken(&format!("{key:?}"), order(&key.token(&claims()))).await;
    }
    let key = ed25519();
    let claims_table = [
        ("one of several audiences", json!({ "aud": ["https://other.example", AUDIENCE] })),
        ("the last second, clocks apart", json!({ "exp": at(-9) })),
        ("the first second, clocks apart", json!({ "nbf": at(10) })),
        ("fractions of seconds", json!({ "exp": 1_763_900_300.5, "nbf": 1_763_899_999.5 })),
        ("no time at which it began", json!({ "nbf": null, "iat": null })),
        ("no scope, and none is asked for", json!({ "scope": null })),
        ("bound to the key that signs", json!({ "cnf": { "jkt": thumbprint(&harness::key(1)) } })),
    ];
    for (case, changes) in claims_table {
        taken(case, order(&key.token(&claims_with(&changes)))).await;
    }
    let token = key.token(&claims());
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let request = Raw::order().add("Authorization", format!("{scheme} {token}"));
        taken(scheme, request).await;
    }
    let mut header = key.header();
    header.typ = Some("application/AT+JWT".into());
    taken("the long name of its type", order(&key.token_with(&header, &claims()))).await;
    // Nothing of this is believed: the key is the one that the service knows.
    header.jku = Some("https://evil.example/jwks".into());
    header.x5u = Some("https://evil.example/chain".into());
    header.jwk = serde_json::from_value(IssuerKey::ed25519("evil", 66).jwk()).unwrap();
    taken("a header that names other keys", order(&key.token_with(&header, &claims()))).await;
}

#[tokio::test]
async fn tokens_with_wrong_claims_are_refused() {
    let service = serve(routes(required())).await;
    let no_claim = |claim: &str| format!("has no usable claim {claim}");
    let other_key = "is bound to a key other than the key that signed this request";
    let other_binding = "is bound, and not to the thumbprint of a key";
    let jkt = |key: &PrivateKey| json!({ "cnf": { "jkt": thumbprint(key) } });
    let own = thumbprint(&key(1));
    let table = [
        (
            "another issuer",
            json!({ "iss": "https://evil.example" }),
            "is from another issuer".into(),
        ),
        (
            "nearly the issuer",
            json!({ "iss": format!("{ISSUER}/") }),
            "is from another issuer".into(),
        ),
        ("no issuer", json!({ "iss": null }), no_claim("iss")),
        ("an issuer that is a number", json!({ "iss": 7 }), no_claim("iss")),
        ("several issuers", json!({ "iss": [ISSUER, "x"] }), no_claim("iss")),
        ("another audience", json!({ "aud": "shop-web" }), "is for another audience".into()),
        ("other audiences", json!({ "aud": ["shop-web", "x"] }), "is for another audience".into()),
        ("an audience list that is empty", json!({ "aud": [] }), "is for another audience".into()),
        ("no audience", json!({ "aud": null }), no_claim("aud")),
        ("an audience that is no text", json!({ "aud": { "x": AUDIENCE } }), no_claim("aud")),
        ("expired", json!({ "exp": at(-10) }), "has expired".into()),
        ("expired long ago", json!({ "exp": 0 }), "has expired".into()),
        ("no end", json!({ "exp": null }), no_claim("exp")),
        ("an end that is a text", json!({ "exp": "1763900300" }), no_claim("exp")),
        ("an end before the epoch", json!({ "exp": -1 }), no_claim("exp")),
        ("a boundless end", json!({ "exp": 1e300 }), no_claim("exp")),
        ("not yet", json!({ "nbf": at(11) }), "is not valid yet".into()),
        ("a beginning that is a text", json!({ "nbf": "0" }), no_claim("nbf")),
        ("nobody", json!({ "sub": null }), no_claim("sub")),
        ("somebody who is a number", json!({ "sub": 7 }), no_claim("sub")),
        ("another key", jkt(&key(5)), other_key.into()),
        ("a text that is no thumbprint", json!({ "cnf": { "jkt": "x" } }), other_key.into()),
        ("a padded thumbprint", json!({ "cnf": { "jkt": format!("{own}=") } }), other_key.into()),
        ("a certificate", json!({ "cnf": { "x5t#S256": "x" } }), other_binding.into()),
        (
            "a certificate as well",
            json!({ "cnf": { "jkt": own, "x5t#S256": "x" } }),
            other_binding.into(),
        ),
        ("a key by name", json!({ "cnf": { "kid": "x" } }), other_binding.into()),
        ("a whole key", json!({ "cnf": { "jwk": ed25519().jwk() } }), other_binding.into()),
        ("an empty binding", json!({ "cnf": {} }), other_binding.into()),
        ("a binding that is a text", json!({ "cnf": own }), other_binding.into()),
        ("claims that the service cannot use", json!({ "tenant": "42" }), "(claims)".into()),
    ];
    for (case, changes, description) in table {
        let token = ed25519().token(&claims_with(&changes));
        let answer = send(&service, &order(&token).signed()).await;
        let expected = match description.as_str() {
            "(claims)" => {
                let text =
                    "the claims of the access token do not have the form that this service reads";
                let error = format!(r#"error="invalid_token", error_description="{text}""#);
                (401, "token-invalid".into(), format!("{REALM}, {error}"))
            }
            description => invalid(description),
        };
        assert_eq!(refusal(&answer), expected, "{case}");
        let challenges = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
        assert_eq!(challenges.count(), 2, "{case}: that of the signature too");
    }
    // `null` is not the same as nothing.
    let mut unbound = claims();
    unbound["cnf"] = Value::Null;
    let answer = send(&service, &order(&ed25519().token(&unbound)).signed()).await;
    assert_eq!(refusal(&answer), invalid(other_binding));
}

#[test]
fn a_leeway_that_tokens_would_outlive_their_end_by_is_refused() {
    let with = |leeway| required().leeway(leeway).map(drop);
    for leeway in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(60)] {
        assert_eq!(with(leeway), Ok(()), "{leeway:?}");
    }
    for leeway in [Duration::from_millis(1500), Duration::from_secs(61), Duration::MAX] {
        assert_eq!(with(leeway), Err(BadLeeway), "{leeway:?}");
    }
}

#[tokio::test]
async fn tokens_that_the_issuer_has_not_signed_are_refused() {
    let service = serve(routes(required())).await;
    let (key, rsa) = (ed25519(), IssuerKey::of(Algorithm::RS256));
    let text = claims().to_string();
    let by_secret = |secret: &[u8], kid: &str| {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(kid.into());
        encode(&header, &claims(), &EncodingKey::from_secret(secret).unwrap()).unwrap()
    };
    let public_pem = include_bytes!("../crates/countersign/tests/keys/rsa_public.pem");
    let rsa_jwk = rsa.jwk().to_string();
    let ed_key = PrivateKey::ed25519(&[77; 32]).publishable_key();
    let other_alg = "names an algorithm other than its key's";
    let malformed = "is not a signed JWT of at most 8 KiB";
    let no_hold = "(signature)";
    let unknown = "names a key that its issuer has not published";
    let as_if = |algorithm: Algorithm| {
        let mut header = IssuerKey::of(algorithm).header();
        header.kid = key.header().kid;
        IssuerKey::of(algorithm).token_with(&header, &claims())
    };
    let (head, signature) = {
        let token = key.token(&claims());
        let (head, rest) = token.split_once('.').unwrap();
        (head.to_owned(), rest.split_once('.').unwrap().1.to_owned())
    };
    let changed = token_of("", &claims_with(&json!({ "sub": "admin" })).to_string(), b"");
    let changed = format!("{head}{}{signature}", changed.trim_end_matches('.').to_owned() + ".");
    let mut critical = key.header();
    critical.crit = Some(vec!["exp".into()]);
    let mut unencoded = key.header();
    unencoded.extras.insert("b64", false);
    let mut jwt = key.header();
    jwt.typ = Some("JWT".into());
    let mut untyped = key.header();
    untyped.typ = None;
    let mut logout = key.header();
    logout.typ = Some("logout+jwt".into());
    let other_type = "has a typ other than at+jwt";
    let huge = key.token(&claims_with(&json!({ "groups": "g".repeat(7000) })));
    let table = [
        ("no signature", token_of(r#"{"alg":"none","typ":"at+jwt"}"#, &text, b""), malformed),
        (
            "no signature, under a kid",
            token_of(r#"{"alg":"none","typ":"at+jwt","kid":"2026-11"}"#, &text, b""),
            malformed,
        ),
        (
            "an empty signature",
            token_of(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"2026-11"}"#, &text, b""),
            no_hold,
        ),
        (
            "a signature of zeros",
            token_of(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"2026-11"}"#, &text, &[0; 64]),
            no_hold,
        ),
        ("the public key in PEM as a secret", by_secret(public_pem, "RS256"), other_alg),
        ("the public key in JWK as a secret", by_secret(rsa_jwk.as_bytes(), "RS256"), other_alg),
        ("the public key's bytes as a secret", by_secret(ed_key.as_bytes(), "2026-11"), other_alg),
        ("RS256 under the name of an EdDSA key", as_if(Algorithm::RS256), other_alg),
        ("ES256 under the name of an EdDSA key", as_if(Algorithm::ES256), other_alg),
        (
            "PS512 under the name of the same key for RS256",
            {
                let mut header = IssuerKey::of(Algorithm::PS512).header();
                header.kid = Some("RS256".into());
                IssuerKey::of(Algorithm::PS512).token_with(&header, &claims())
            },
            other_alg,
        ),
        ("another key", IssuerKey::ed25519("2026-11", 66).token(&claims()), no_hold),
        ("an unknown key", IssuerKey::ed25519("2027", 66).token(&claims()), unknown),
        ("no key, where there are several", key.clone().named(None).token(&claims()), unknown),
        ("changed claims", changed, no_hold),
        ("a critical extension", key.token_with(&critical, &claims()), malformed),
        ("unencoded claims", key.token_with(&unencoded, &claims()), malformed),
        ("another type", key.token_with(&logout, &claims()), other_type),
        ("JWT, as an ID token", key.token_with(&jwt, &claims()), other_type),
        ("no type", key.token_with(&untyped, &claims()), other_type),
        ("too long", huge, malformed),
        ("two parts", "a.b".into(), malformed),
        ("four parts", format!("{}.x", key.token(&claims())), malformed),
        ("an encrypted token", "a.b.c.d.e".into(), malformed),
        ("no token at all", "x".into(), malformed),
        ("two tokens", format!("{0},{0}", key.token(&claims())), malformed),
        ("something behind it", format!("{} x", key.token(&claims())), malformed),
        (
            "claims that are no object",
            token_of(&json!(key.header()).to_string(), "7", b""),
            no_hold,
        ),
    ];
    for (case, token, description) in table {
        let answer = send(&service, &order(&token).signed()).await;
        let expected = match description {
            "(signature)" => {
                let text = "the signature of the access token is invalid";
                let error = format!(r#"error="invalid_token", error_description="{text}""#);
                (401, "token-invalid".into(), format!("{REALM}, {error}"))
            }
            description => invalid(description),
        };
        assert_eq!(refusal(&answer), expected, "{case}");
    }
}

#[tokio::test]
async fn requests_without_a_token_of_the_scheme_are_told_to_bring_one() {
    let service = serve(routes(required())).await;
    let token = ed25519().token(&claims());
    let missing = (401, "token-required".to_owned(), REALM.to_owned());
    let table = [
        ("none", Raw::order()),
        ("Basic", Raw::order().add("Authorization", "Basic c2hvcDpzZWNyZXQ=")),
        ("DPoP", Raw::order().add("Authorization", format!("DPoP {token}"))),
        ("a token alone", Raw::order().add("Authorization", &token)),
        ("a scheme alone", Raw::order().add("Authorization", "Bearer")),
        ("another scheme", Raw::order().add("Authorization", format!("Bearers {token}"))),
        ("in another field", Raw::order().add("X-Authorization", format!("Bearer {token}"))),
        ("in the query", Raw::order().target(&format!("/v1/orders?access_token={token}"))),
    ];
    for (case, request) in table {
        assert_eq!(refusal(&send(&service, &request.signed()).await), missing, "{case}");
    }
}

#[tokio::test]
async fn a_token_counts_only_where_the_signature_covers_it() {
    let service = serve(routes(required())).await;
    let token = ed25519().token(&claims());
    let other = ed25519().token(&claims_with(&json!({ "sub": "somebody-else" })));
    let bearer = |token: &str| format!("Bearer {token}");
    let components = r#"("@method" "@authority" "@path" "@query" "content-type" "content-digest""#;
    let uncovered = format!("{components}){}", harness::PARAMS);
    let by_member = format!(r#"{components} "authorization";bs){}"#, harness::PARAMS);
    let publishable = Raw::read().add("X-Api-Key", key(1).publishable_key().to_string());
    let table = [
        ("taken out", order(&token).signed().without("Authorization"), 400, "signature-malformed"),
        (
            "swapped",
            order(&token).signed().set("Authorization", bearer(&other)),
            401,
            "signature-invalid",
        ),
        (
            "put in",
            Raw::order().signed().add("Authorization", bearer(&token)),
            401,
            "signature-policy",
        ),
        (
            "put in beside the first",
            order(&token).signed().add("Authorization", bearer(&other)),
            400,
            "signature-malformed",
        ),
        ("not covered", order(&token).signed_as(&uncovered), 401, "signature-policy"),
        ("covered in another form", order(&token).signed_as(&by_member), 401, "signature-policy"),
        ("not signed", order(&token), 401, "signature-required"),
        (
            "beside a publishable key",
            publishable.add("Authorization", bearer(&token)),
            401,
            "signature-required",
        ),
    ];
    for (case, request, status, code) in table {
        let answer = send(&service, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{case}");
    }
}

#[tokio::test]
async fn what_a_layer_makes_of_the_field_behind_the_verifier_is_not_what_was_signed() {
    let put_in = async |mut request: Request| {
        let token = ed25519().token(&claims_with(&json!({ "sub": "somebody-else" })));
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let service = serve(routes(required()).layer(map_request(put_in))).await;
    let answer = send(&service, &Raw::order().signed()).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature-policy"));
    let answer = send(&service, &order(&ed25519().token(&claims())).signed()).await;
    assert!(answer.body.contains("for customer-7"), "{}", answer.body);
}

#[tokio::test]
async fn what_the_service_asks_of_tokens_beside_that_can_be_set() {
    let token = |changes: Value| ed25519().token(&claims_with(&changes));
    let bound = || token(json!({ "cnf": { "jkt": thumbprint(&key(1)) } }));
    let insufficient = format!(r#"{REALM}, error="insufficient_scope", scope="orders:write""#);
    let lacks = || (403, "token-forbidden".to_owned(), insufficient.clone());
    let passes = || (200, String::new(), String::new());
    let typed = |typ: Option<&str>| {
        let mut header = ed25519().header();
        header.typ = typ.map(Into::into);
        ed25519().token_with(&header, &claims())
    };
    let other_type = || invalid("has a typ other than at+jwt");
    let scope = |scope: &str| token(json!({ "scope": scope }));
    let exact = |required: RequireBearer| required.leeway(Duration::ZERO).unwrap();
    let table = [
        ("scope there", required().scope(WRITE), scope("a orders:write"), passes()),
        ("scope not there", required().scope(WRITE), scope("orders:read"), lacks()),
        ("scope that begins so", required().scope(WRITE), scope("orders:writes"), lacks()),
        ("no scope", required().scope(WRITE), token(json!({ "scope": null })), lacks()),
        ("empty scope", required().scope(WRITE), scope(""), lacks()),
        (
            "scopes in a list",
            required().scope(WRITE),
            token(json!({ "scope": ["orders:write"] })),
            lacks(),
        ),
        ("bound", required().require_key_binding(), bound(), passes()),
        (
            "not bound",
            required().require_key_binding(),
            token(json!({})),
            invalid("is not bound to a key"),
        ),
        ("JWT", required().insecure_allow_typ_jwt(), typed(Some("JWT")), passes()),
        ("no type", required().insecure_allow_typ_jwt(), typed(None), passes()),
        ("at+jwt", required().insecure_allow_typ_jwt(), typed(Some("at+jwt")), passes()),
        ("other type", required().insecure_allow_typ_jwt(), typed(Some("dpop+jwt")), other_type()),
        ("last second", exact(required()), token(json!({ "exp": at(1) })), passes()),
        ("end", exact(required()), token(json!({ "exp": NOW.unix() })), invalid("has expired")),
        ("beginning", exact(required()), token(json!({ "nbf": NOW.unix() })), passes()),
        ("before", exact(required()), token(json!({ "nbf": at(1) })), invalid("is not valid yet")),
    ];
    for (case, required, token, expected) in table {
        let service = serve(routes(required)).await;
        let answer = send(&service, &order(&token).signed()).await;
        assert_eq!(refusal(&answer), expected, "{case}");
    }
}

#[tokio::test]
async fn time_is_that_of_the_verifier() {
    let service = serve(routes(required())).await;
    let later = Timestamp::from_unix(at(400));
    let token = ed25519().token(&claims());
    service.clock.set(400);
    let answer = send(&service, &order(&token).signed_by(key(1), later)).await;
    assert_eq!(refusal(&answer), invalid("has expired"));
}

#[tokio::test]
async fn no_token_is_bound_to_a_shared_secret() {
    let secret = || PrivateKey::hmac_sha256([6; 16], &[6; 32]).unwrap();
    let service = serve(routes(required())).await;
    let unbound = order(&ed25519().token(&claims())).signed_by(secret(), NOW);
    assert_eq!(send(&service, &unbound).await.status, 200);
    // RFC 7638 §3.2 has a thumbprint of symmetric keys too, which would tell those who see it of the secret.
    for jkt in ["", "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"] {
        let token = ed25519().token(&claims_with(&json!({ "cnf": { "jkt": jkt } })));
        let answer = send(&service, &order(&token).signed_by(secret(), NOW)).await;
        let description = "is bound to a key other than the key that signed this request";
        assert_eq!(refusal(&answer), invalid(description), "{jkt:?}");
    }
}

#[tokio::test]
async fn a_handler_that_reads_tokens_needs_the_layer_that_looks_at_them() {
    let optional = async |token: Option<Bearer>| format!("{}", token.is_some());
    let without = Router::new().route("/v1/orders", post(add).get(read));
    let app = without.route("/optional", get(optional));
    let service = serve(app).await;
    let token = ed25519().token(&claims());
    let get = |path: &str| Raw::read().target(path).add("Authorization", format!("Bearer {token}"));
    for request in [order(&token), get("/v1/orders"), get("/optional")] {
        let answer = send(&service, &request.signed()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "misconfigured"));
    }
    // And it needs the verifier.
    let app = routes(required());
    let response = app.oneshot(order(&token).signed().request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn on_routes_that_are_observed_whoever_would_be_refused_passes_without_a_token() {
    let optional = async |caller: Option<SignedBy>, token: Option<Bearer<Tenant>>| {
        format!("{} {}", caller.is_some(), token.is_some())
    };
    let by_extension =
        async |request: Request| format!("{}", request.extensions().get::<AccessToken>().is_some());
    let strict = async |Bearer(token, _): Bearer| token.subject().to_owned();
    let of_another_issuer =
        RequireBearer::new("https://other.example", AUDIENCE, token_keys()).unwrap();
    let observed = |path: &str| Route::signed(Method::POST, path).insecure_observe();
    let routes = Routes::new()
        .route(observed("/observed"), optional.layer(required()))
        .route(observed("/strict"), strict.layer(required()))
        .route(observed("/extension"), by_extension.layer(required()))
        .route(observed("/twice"), by_extension.layer(of_another_issuer).layer(required()))
        .route(observed("/streamed").streamed(1 << 20), strict.layer(required()))
        .route(observed("/streamed/optional").streamed(1 << 20), optional.layer(required()))
        .route(Route::signed(Method::POST, "/off").insecure_off(), optional.layer(required()));
    let app = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let app = app.protect(routes).unwrap();
    let good = || order(&ed25519().token(&claims()));
    let other = || order(&ed25519().token(&claims_with(&json!({ "aud": "x" }))));
    let unreadable = || order(&ed25519().token(&claims_with(&json!({ "tenant": "x" }))));
    let table = [
        ("good", good().target("/observed").signed(), 200, "true true"),
        ("no token", Raw::order().target("/observed").signed(), 200, "true false"),
        ("another's", other().target("/observed").signed(), 200, "true false"),
        ("unreadable", unreadable().target("/observed").signed(), 200, "true false"),
        ("unsigned", good().target("/observed"), 200, "false false"),
        ("off", good().target("/off").signed(), 200, "false false"),
        ("extension", good().target("/extension").signed(), 200, "true"),
        ("extension, another's", other().target("/extension").signed(), 200, "false"),
        ("extension, asked for two", good().target("/twice").signed(), 200, "false"),
        ("strict", good().target("/strict").signed(), 200, "customer-7"),
        ("strict, another's", other().target("/strict").signed(), 401, "token-invalid"),
        ("strict, unsigned", good().target("/strict"), 401, "signature-required"),
        // Nobody compares its content, so that nobody is named as its sender.
        ("streamed", good().target("/streamed").signed(), 401, "signature-required"),
        ("streamed, optional", good().target("/streamed/optional").signed(), 200, "false false"),
    ];
    for (case, request, status, expected) in table {
        let response = app.clone().oneshot(request.request()).await.unwrap();
        let came = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(came, status, "{case}: {body}");
        assert!(body.contains(expected), "{case}: {body}");
    }
}

/// A service that fetches its keys from there, by a clock of their own.
async fn remote(issuer: &JwksServer) -> (Service, RemoteTokenKeys, TestClock) {
    let clock = TestClock::default();
    let keys = RemoteTokenKeys::new(&issuer.url()).unwrap().clock(clock.monotonic());
    let service = serve(routes(RequireBearer::new(ISSUER, AUDIENCE, keys.clone()).unwrap())).await;
    (service, keys, clock)
}

async fn send_token(service: &Service, key: &IssuerKey) -> (u16, String) {
    let answer = send(service, &order(&key.token(&claims())).signed()).await;
    (answer.status, answer.code())
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn unavailable() -> (u16, String) {
    (503, "token-keys-unavailable".into())
}

fn unknown() -> (u16, String) {
    (401, "token-invalid".into())
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_a_token_names_one_that_is_not_there() {
    let (issuer, old, new) =
        (JwksServer::start().await, IssuerKey::ed25519("old", 1), IssuerKey::ed25519("new", 2));
    let (service, keys, clock) = remote(&issuer).await;
    issuer.serve(&old.jwks());
    keys.fetch().await.unwrap();
    for _ in 0..3 {
        assert_eq!(send_token(&service, &old).await, ok());
    }
    assert_eq!(issuer.asked(), 1);
    issuer.serve(&new.jwks());
    clock.set(59);
    for _ in 0..20 {
        assert_eq!(send_token(&service, &new).await, unknown());
    }
    assert_eq!(issuer.asked(), 1, "a minute has not passed");
    clock.set(60);
    assert_eq!(send_token(&service, &new).await, ok());
    assert_eq!(send_token(&service, &old).await, unknown(), "withdrawn");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_at_the_start_is_asked_every_ten_seconds() {
    let (issuer, key) = (JwksServer::start().await, ed25519());
    let (service, keys, clock) = remote(&issuer).await;
    assert!(matches!(keys.fetch().await, Err(FetchError::Unreachable(_))));
    let token = order(&key.token(&claims())).signed();
    let answer = send(&service, &token).await;
    assert_eq!((answer.status, answer.code()), unavailable());
    assert_eq!(answer.get("retry-after"), Some("10"));
    issuer.serve(&key.jwks());
    clock.set(9);
    assert_eq!(send_token(&service, &key).await, unavailable());
    assert_eq!(issuer.asked(), 1);
    clock.set(10);
    assert_eq!(send_token(&service, &key).await, ok());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn keys_are_used_for_an_hour_while_their_issuer_cannot_be_reached() {
    let (issuer, key) = (JwksServer::start().await, ed25519());
    let (service, keys, clock) = remote(&issuer).await;
    issuer.serve(&key.jwks());
    assert_eq!(send_token(&service, &key).await, ok(), "the first request fetches them");
    issuer.answer("");
    clock.set(3599);
    assert_eq!(send_token(&service, &key).await, ok());
    // That request had them fetched anew, and did not wait for it.
    while issuer.asked() < 2 {
        tokio::task::yield_now().await;
    }
    let other = IssuerKey::ed25519("other", 3);
    assert_eq!(send_token(&service, &other).await, unavailable(), "nobody knows");
    clock.set(3600);
    assert_eq!(send_token(&service, &key).await, unavailable());
    issuer.serve(&key.jwks());
    clock.set(3700);
    assert_eq!(send_token(&service, &key).await, ok());
    // What is wrong now does not take away what was right.
    issuer.answer("");
    assert!(keys.fetch().await.is_err());
    assert_eq!(send_token(&service, &key).await, ok());
}

#[tokio::test]
async fn keys_are_fetched_anew_when_a_twelfth_of_their_time_is_over() {
    let (issuer, old, new) =
        (JwksServer::start().await, IssuerKey::ed25519("old", 1), IssuerKey::ed25519("new", 2));
    let (service, _, clock) = remote(&issuer).await;
    issuer.serve(&old.jwks());
    assert_eq!(send_token(&service, &old).await, ok());
    issuer.serve(&new.jwks());
    clock.set(299);
    assert_eq!(send_token(&service, &old).await, ok());
    assert_eq!(issuer.asked(), 1);
    clock.set(300);
    assert_eq!(send_token(&service, &old).await, ok(), "at hand, while others are fetched");
    while send_token(&service, &old).await == ok() {}
    assert_eq!(send_token(&service, &new).await, ok());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn requests_that_come_together_have_keys_fetched_once() {
    let (issuer, key) = (JwksServer::start().await, ed25519());
    let (service, _, _) = remote(&issuer).await;
    issuer.serve(&key.jwks());
    let held = issuer.hold().await;
    let service = Arc::new(service);
    let sent: Vec<_> = (0..20)
        .map(|number| {
            let service = service.clone();
            let key = if number % 2 == 0 { ed25519() } else { IssuerKey::ed25519("none", 4) };
            tokio::spawn(async move { send_token(&service, &key).await })
        })
        .collect();
    while issuer.asked() < 1 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for (number, sent) in sent.into_iter().enumerate() {
        let expected = if number % 2 == 0 { ok() } else { unknown() };
        assert_eq!(sent.await.unwrap(), expected, "{number}");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_fetch_does_not_end_with_the_request_that_brought_it_about() {
    let (issuer, key) = (JwksServer::start().await, ed25519());
    let keys = RemoteTokenKeys::new(&issuer.url()).unwrap().clock(TestClock::default().monotonic());
    let app = routes(RequireBearer::new(ISSUER, AUDIENCE, keys).unwrap())
        .layer(verifier(&TestClock::default(), Service::keys(), Service::nonces()).layer());
    issuer.serve(&key.jwks());
    let held = issuer.hold().await;
    let request = || order(&key.token(&claims())).signed().request();
    let given_up = tokio::spawn(app.clone().oneshot(request()));
    while issuer.asked() < 1 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    drop(held);
    assert_eq!(app.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn answers_that_are_no_keys_are_refused() {
    let issuer = JwksServer::start().await;
    let good = ed25519().jwks();
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(128 * 1024));
    let secret = json!({ "keys": [{ "kty": "oct", "k": "AAAA", "alg": "HS256" }] }).to_string();
    let http =
        |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{rest}");
    let with = |status: &str, content: &str| {
        http(status, &format!("Content-Length: {}\r\n\r\n{content}", content.len()))
    };
    let elsewhere = JwksServer::start().await;
    elsewhere.serve(&good);
    let redirect =
        http("302 Found", &format!("Location: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url()));
    let piece = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let endless = http("200 OK", &format!("Transfer-Encoding: chunked\r\n\r\n{}", piece.repeat(5)));
    let cut_off = http("200 OK", &format!("Content-Length: 9999\r\n\r\n{good}"));
    type Is = fn(&FetchError) -> bool;
    let status: Is = |error| matches!(error, FetchError::Status(_));
    let not_jwks: Is = |error| matches!(error, FetchError::Jwks(BadJwks::NotAJwks));
    let no_key: Is = |error| matches!(error, FetchError::Jwks(BadJwks::NoKey));
    let too_long: Is = |error| matches!(error, FetchError::Jwks(BadJwks::TooLong));
    let unreachable: Is = |error| matches!(error, FetchError::Unreachable(_));
    let table = [
        ("nothing", String::new(), unreachable),
        ("no HTTP", "garbage\r\n\r\n".into(), unreachable),
        ("less than it says", cut_off, unreachable),
        ("a redirect", redirect, status),
        ("an error", with("500 Internal Server Error", &good), status),
        ("not there", with("404 Not Found", &good), status),
        ("something in part", with("206 Partial Content", &good), status),
        ("no content", with("200 OK", ""), not_jwks),
        ("a page", with("200 OK", "<html></html>"), not_jwks),
        ("a list", with("200 OK", "[]"), not_jwks),
        ("one key", with("200 OK", &ed25519().jwk().to_string()), not_jwks),
        ("keys that are no list", with("200 OK", r#"{"keys":{}}"#), not_jwks),
        ("no keys", with("200 OK", r#"{"keys":[]}"#), no_key),
        ("nothing but a secret", with("200 OK", &secret), no_key),
        ("too long", with("200 OK", &long), too_long),
        ("too long, in pieces", endless, too_long),
    ];
    let keys = RemoteTokenKeys::new(&issuer.url()).unwrap();
    for (case, answer, is) in table {
        issuer.answer(answer);
        let refused = keys.fetch().await.unwrap_err();
        assert!(is(&refused), "{case}: {refused:?}");
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    issuer.serve(&good);
    keys.fetch().await.unwrap();
}

#[tokio::test]
async fn keys_that_were_fetched_are_not_overwritten_by_a_fetch_that_was_begun_before() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", issuer.local_addr().unwrap());
    let asked = async || {
        let (mut stream, _) = issuer.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream
    };
    let answer = async |mut stream: TcpStream, key: &IssuerKey| {
        let jwks = key.jwks();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", jwks.len());
        stream.write_all(format!("{head}{jwks}").as_bytes()).await.unwrap();
    };
    let (old, new) = (ed25519(), IssuerKey::ed25519("2026-12", 78));
    // All of it happens at one time.
    let clock = TestClock::default();
    let keys = RemoteTokenKeys::new(&url).unwrap().clock(clock.monotonic());
    let required = RequireBearer::new(ISSUER, AUDIENCE, keys.clone()).unwrap();
    let service = serve(routes(required)).await;
    let fetch = || {
        let keys = keys.clone();
        tokio::spawn(async move { keys.fetch().await })
    };
    let earlier = fetch();
    let first = asked().await;
    let later = fetch();
    answer(asked().await, &new).await;
    later.await.unwrap().unwrap();
    assert_eq!(send_token(&service, &new).await, ok());
    answer(first, &old).await;
    earlier.await.unwrap().unwrap();
    assert_eq!(send_token(&service, &new).await, ok());
    assert_eq!(send_token(&service, &old).await, unknown());
}

#[test]
fn an_issuer_and_an_audience_have_to_be_named() {
    for empty in ["", " ", "\t\n"] {
        let issuer = RequireBearer::new(empty, AUDIENCE, token_keys()).unwrap_err();
        assert_eq!(issuer, BadBearer::NoIssuer);
        let audience = RequireBearer::new(ISSUER, empty, token_keys()).unwrap_err();
        assert_eq!(audience, BadBearer::NoAudience);
    }
    assert!(RequireBearer::new(ISSUER, AUDIENCE, token_keys()).is_ok());
}

#[test]
fn a_jwks_can_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("issuer.jwks");
    assert!(matches!(TokenKeys::from_file(&file), Err(BadJwks::Unreadable(_))));
    std::fs::write(&file, ed25519().jwks()).unwrap();
    let keys = format!("{:?}", TokenKeys::from_file(&file).unwrap());
    assert_eq!(keys, r#"[(Some("2026-11"), EdDSA)]"#);
    std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
    assert!(matches!(TokenKeys::from_file(&file), Err(BadJwks::TooLong)));
}

#[tokio::test]
async fn a_token_that_names_no_key_is_of_the_only_one_there_is() {
    let key = ed25519().named(None);
    for jwks in [key.jwks(), ed25519().jwks()] {
        let keys = TokenKeys::from_jwks(&jwks).unwrap();
        let service = serve(routes(RequireBearer::new(ISSUER, AUDIENCE, keys).unwrap())).await;
        assert_eq!(send_token(&service, &key).await, ok());
    }
    // A key without a name is not found by one.
    let keys = TokenKeys::from_jwks(&key.jwks()).unwrap();
    let service = serve(routes(RequireBearer::new(ISSUER, AUDIENCE, keys).unwrap())).await;
    assert_eq!(send_token(&service, &ed25519()).await, unknown());
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_caller_has_nobody_look_at_its_token() {
    let (issuer, key) = (JwksServer::start().await, ed25519());
    let (service, _, _) = remote(&issuer).await;
    issuer.serve(&key.jwks());
    let token = || order(&key.token(&claims()));
    let replayed = token().signed();
    let table = [
        ("forged", token().forged(&harness::key(1)), "signature-invalid"),
        ("unknown", token().signed_by(harness::key(9), NOW), "signature-invalid"),
        ("revoked", token().signed_by(harness::key(2), NOW), "key-revoked"),
        ("changed", token().signed().body(b"changed"), "digest-mismatch"),
    ];
    for (case, request, code) in table {
        assert_eq!(send(&service, &request).await.code(), code, "{case}");
    }
    assert_eq!(issuer.asked(), 0);
    assert_eq!(send(&service, &replayed).await.status, 200);
    assert_eq!(send(&service, &replayed).await.code(), "signature-replayed");
}
