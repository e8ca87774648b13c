//! A server in explain mode, and a client that names what was changed on the way between them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use countersign::{PrivateKey, Signer};
use countersign_client::{Client, Explanation, Refusal};
use harness::{ChangingProxy, NOW, Service, key};
use http::{HeaderName, HeaderValue, StatusCode};

const HOST: &str = "api.example.com";
const PIN: HeaderName = HeaderName::from_static("x-pin");
type Change = fn(&str) -> String;

async fn explaining() -> Service {
    Service::start_with(Service::keys(), Service::nonces(), |verifier| verifier.insecure_explain())
        .await
}

/// What becomes of an order that this is done to on its way.
async fn send(service: &Service, key: PrivateKey, change: Change) -> Result<StatusCode, Refusal> {
    let proxy = ChangingProxy::start(service.address, change).await;
    let to_proxy = reqwest::Client::builder().resolve(HOST, proxy.address);
    let signer = Signer::new(key).cover_when_present([PIN]);
    let client = Client::from_signer(signer).unwrap().http(to_proxy).unwrap().clock(|| NOW);
    let mut pin = HeaderValue::from_static("pin-1234");
    pin.set_sensitive(true);
    let order = client.post(format!("http://{HOST}/v1/orders?expand=customer"));
    let order = order.bearer_auth("token-5678").header(PIN, pin).json(&["book"]);
    Refusal::check(order.send().await.unwrap()).await.map(|response| response.status())
}

#[tokio::test]
async fn a_client_names_the_component_that_was_changed_on_its_way() {
    let service = explaining().await;
    let table: [(&str, Change, &str); 7] = [
        (
            "the path",
            |head| head.replace("/v1/orders", "/api/v1/orders"),
            "\"@path\": signed `/v1/orders`, the server saw `/api/v1/orders`",
        ),
        (
            "the query",
            |head| head.replace("?expand=customer", "?expand=all"),
            "\"@query\": signed `?expand=customer`, the server saw `?expand=all`",
        ),
        (
            "the host",
            |head| head.replace("host: api.", "host: b."),
            "\"@authority\": signed `api.example.com`, the server saw `b.example.com`",
        ),
        (
            "the method",
            |head| head.replace("POST", "PUT"),
            "\"@method\": signed `POST`, the server saw `PUT`",
        ),
        (
            "a field",
            |head| head.replace("application/json", "application/json; charset=utf-8"),
            "\"content-type\": signed `application/json`, the server saw `application/json; charset=utf-8`",
        ),
        (
            "a token",
            |head| head.replace("token-5678", "other-9012"),
            "\"authorization\", whose values are not shown",
        ),
        (
            "a sensitive field",
            |head| head.replace("pin-1234", "other-9012"),
            "\"x-pin\", whose values are not shown",
        ),
    ];
    for (what, change, expected) in table {
        let refusal = send(&service, key(1), change).await.unwrap_err();
        let explanation = refusal.explanation.as_ref().unwrap();
        assert!(matches!(explanation, Explanation::Differs(_)), "{what}: {explanation:?}");
        let told = format!("the first component that differs is {expected}");
        assert_eq!(explanation.to_string(), told, "{what}");
        assert!(refusal.to_string().ends_with(&format!("; {told}")), "{what}: {refusal}");
        let all = format!("{refusal} {refusal:?}");
        // With what a request's id, of hexadecimal digits, cannot have.
        for secret in ["-5678", "-1234", "-9012"] {
            assert!(!all.contains(secret), "{what}: {all}");
        }
    }
    assert_eq!(send(&service, key(1), str::to_owned).await, Ok(StatusCode::CREATED));
}

#[tokio::test]
async fn a_client_whose_key_is_not_registered_is_told_that_nothing_else_differs() {
    let service = explaining().await;
    let refusal = send(&service, key(9), str::to_owned).await.unwrap_err();
    assert_eq!(refusal.explanation, Some(Explanation::Same));
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_not_explained() {
    let service = explaining().await;
    let refusal = send(&service, key(2), str::to_owned).await.unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.explanation), ("key-revoked", None));
}

#[tokio::test]
async fn a_server_that_does_not_explain_leaves_a_client_with_nothing_to_say() {
    let service = Service::start().await;
    let refusal = send(&service, key(1), |head| head.replace("/v1/orders", "/api/v1/orders"));
    let refusal = refusal.await.unwrap_err();
    assert_eq!((refusal.code.as_str(), &refusal.explanation), ("signature-invalid", &None));
    assert!(!refusal.to_string().contains("differs"), "{refusal}");
}
