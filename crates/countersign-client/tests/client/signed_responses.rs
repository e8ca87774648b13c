use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign::{
    Origin, PrivateKey, REFUSAL, RequestHead, ResponseHead, ResponseRejection, ResponseSigner,
    ServerKeys, Signer, Target, Timestamp, Unmet,
};
use countersign_client::{Client, Error, Refusal};

use crate::server::{NOW, Received, Server, client, key};

pub(crate) const SERVER: u8 = 21;

pub(crate) fn keys(seed: u8) -> ServerKeys {
    ServerKeys::new([PrivateKey::ed25519(&[seed; 32]).verifying_key()]).unwrap()
}

fn verifying() -> Client {
    client().verify_responses(keys(SERVER))
}

/// An answer that can be changed after it was signed.
#[derive(Clone)]
pub(crate) struct Made {
    status: StatusCode,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Made {
    pub(crate) fn new(status: StatusCode, content: &str) -> Self {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = HeaderMap::from_iter((!content.is_empty()).then_some(json));
        Self { status, headers, content: content.into() }
    }

    pub(crate) fn set(mut self, name: header::HeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn signed_at(self, request: &Received, created: Timestamp) -> Self {
        let signer = ResponseSigner::new(PrivateKey::ed25519(&[SERVER; 32])).unwrap();
        self.signed_by(&signer, request, created)
    }

    fn signed_by(
        mut self,
        signer: &ResponseSigner,
        request: &Received,
        created: Timestamp,
    ) -> Self {
        let origin: Origin = format!("http://{}", request.header("host")).parse().unwrap();
        let asked = RequestHead {
            method: &request.head.method,
            target: Target::origin_form(&request.head.uri),
            origin: &origin,
            headers: &request.head.headers,
        };
        let answer = ResponseHead { status: self.status, headers: &self.headers };
        let fields = signer.sign(&answer, &asked, &self.content, created).unwrap();
        fields.apply(&mut self.headers);
        self
    }

    pub(crate) fn signed(self, request: &Received) -> Self {
        self.signed_at(request, NOW)
    }
}

impl IntoResponse for Made {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.content));
        (*response.status_mut(), *response.headers_mut()) = (self.status, self.headers);
        response
    }
}

fn order() -> Made {
    Made::new(StatusCode::CREATED, r#"{"id":1}"#)
}

#[tokio::test]
async fn a_signed_answer_is_handed_on_whole() {
    let server = Server::start(|request, _| {
        let made = match request.head.uri.path() {
            "/none" => Made::new(StatusCode::NO_CONTENT, ""),
            "/empty" => Made::new(StatusCode::OK, ""),
            "/refused" => Made::new(StatusCode::FORBIDDEN, r#"{"code":"key-forbidden"}"#)
                .set(header::CONTENT_TYPE, "application/problem+json")
                .set(REFUSAL, "key-forbidden"),
            _ => order(),
        };
        // axum takes the content off an answer to HEAD.
        made.signed(request).into_response()
    })
    .await;
    let url = server.url("/v1/orders?state=new");
    let response = verifying().post(&url).body("{}").send().await.unwrap();
    assert_eq!(response.url().as_str(), url);
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.text().await.unwrap(), r#"{"id":1}"#);
    for (target, status) in [("/none", 204), ("/empty", 200)] {
        let response = verifying().get(server.url(target)).send().await.unwrap();
        assert_eq!(response.status(), status, "{target}");
        assert_eq!(response.bytes().await.unwrap().len(), 0);
    }
    let head = verifying().head(&url).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::CREATED);
    let refused = verifying().get(server.url("/refused")).send().await.unwrap();
    let refusal = Refusal::check(refused).await.unwrap_err();
    assert_eq!(refusal.code, countersign::Code::KeyForbidden);
    // Whoever does not ask for it gets signed answers as any others.
    assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_answer_that_was_changed_on_the_way_is_none() {
    use ResponseRejection::{DigestMismatch, Invalid, Policy, Unsigned};
    type Change = (&'static str, fn(&mut Made), ResponseRejection);
    let changes: [Change; 7] = [
        ("status", |made| made.status = StatusCode::OK, Invalid),
        ("content", |made| made.content[6] = b'2', DigestMismatch),
        ("content cut short", |made| made.content.clear(), DigestMismatch),
        (
            "content type",
            |made| {
                made.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            },
            Invalid,
        ),
        (
            "a redirect that was not there",
            |made| {
                made.headers.insert(header::LOCATION, HeaderValue::from_static("/elsewhere"));
            },
            Policy(Unmet::PresentField("location".into())),
        ),
        ("unsigned", |made| *made = order(), Unsigned),
        (
            "by another key",
            |made| {
                let other = PrivateKey::ed25519(&[22; 32]).publishable_key();
                let other = countersign::KeyId::Thumbprint(other.thumbprint().unwrap());
                let input = made.headers["signature-input"].to_str().unwrap();
                let (before, behind) = input.split_once("keyid=\"").unwrap();
                let (_, behind) = behind.split_once('"').unwrap();
                let input = format!("{before}keyid=\"{other}\"{behind}");
                made.headers.insert("signature-input", input.parse().unwrap());
            },
            ResponseRejection::UnknownKey,
        ),
    ];
    for (name, change, expected) in changes {
        let server = Server::start(move |request, _| {
            let mut made = order().signed(request);
            change(&mut made);
            made.into_response()
        })
        .await;
        let error = verifying().post(server.url("/v1/orders")).body("{}").send().await;
        let Err(Error::Response { reason: rejection, .. }) = error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!(rejection, expected, "{name}");
        assert_eq!(server.received().len(), 1, "{name}: sent again");
    }
}

#[tokio::test]
async fn the_answer_to_another_attempt_is_none() {
    let kept = Arc::new(Mutex::new(None));
    let server = Server::start(move |request, _| {
        let mut kept = kept.lock().unwrap();
        let answer = kept.get_or_insert_with(|| order().signed(request));
        answer.clone().into_response()
    })
    .await;
    let send = || verifying().post(server.url("/v1/orders")).body("{}").send();
    assert_eq!(send().await.unwrap().status(), StatusCode::CREATED);
    let error = send().await.unwrap_err();
    assert!(
        matches!(error, Error::Response { reason: ResponseRejection::Invalid, .. }),
        "{error:?}"
    );
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("not valid for this response"), "{why}");
    assert!(error.to_string().contains("201"), "{error}");
}

#[tokio::test]
async fn the_time_of_a_verified_refusal_is_followed_and_not_a_date_that_nobody_vouches_for() {
    let server = Server::start(|request, number| {
        let now = Timestamp::from_unix(NOW.unix() + 300);
        let made = match number {
            1 => Made::new(
                StatusCode::UNAUTHORIZED,
                r#"{"code":"signature-stale","detail":"","hint":"","request_id":""}"#,
            )
            .set(header::CONTENT_TYPE, "application/problem+json")
            .set(REFUSAL, "signature-stale"),
            _ => order(),
        };
        let made = made.signed_at(request, now);
        made.set(header::DATE, "Sun, 23 Nov 2025 12:03:20 GMT").into_response()
    })
    .await;
    let response = verifying().get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let received = server.received();
    received[0].verify(NOW);
    received[1].verify(Timestamp::from_unix(NOW.unix() + 300));
    assert!(received[1].header("signature-input").contains(";created=1763900300;"));
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_verified_by_itself() {
    let server = Server::start(|request, _| {
        let made = match request.head.uri.path() {
            "/old" => Made::new(StatusCode::TEMPORARY_REDIRECT, "").set(header::LOCATION, "/new"),
            "/forged" => {
                return Made::new(StatusCode::TEMPORARY_REDIRECT, "")
                    .signed(request)
                    .set(header::LOCATION, "/new")
                    .into_response();
            }
            _ => order(),
        };
        made.signed(request).into_response()
    })
    .await;
    let verifying = || verifying().insecure_follow_redirected_writes();
    let moved = verifying().post(server.url("/old")).body("{}").send().await.unwrap();
    assert_eq!(moved.status(), StatusCode::CREATED);
    let received = server.received().len();
    let forged = verifying().post(server.url("/forged")).body("{}").send().await;
    assert!(
        matches!(forged, Err(Error::Response { reason: ResponseRejection::Policy(_), .. })),
        "{forged:?}"
    );
    assert_eq!(server.received().len(), received + 1, "it was followed");
}

#[tokio::test]
async fn a_tag_of_the_api_is_the_one_that_answers_are_bound_by() {
    let server = Server::start(|request, _| {
        let signer = ResponseSigner::new(PrivateKey::ed25519(&[SERVER; 32])).unwrap();
        let signer = match request.head.uri.path() {
            "/other" => signer,
            _ => signer.request_tag("my-api").unwrap(),
        };
        order().signed_by(&signer, request, NOW).into_response()
    })
    .await;
    let client = Client::from_signer(Signer::new(key()).tag("my-api").unwrap()).unwrap();
    let client = client.clock(|| NOW).verify_responses(keys(SERVER));
    assert_eq!(client.get(server.url("/")).send().await.unwrap().status(), StatusCode::CREATED);
    let unbound = client.get(server.url("/other")).send().await;
    let expected = ResponseRejection::Policy(Unmet::Component("signature-input;req"));
    assert!(
        matches!(&unbound, Err(Error::Response { reason, .. }) if *reason == expected),
        "{unbound:?}"
    );
}

#[tokio::test]
async fn an_answer_is_not_taken_into_memory_without_a_limit() {
    let server = Server::start(|request, _| order().signed(request).into_response()).await;
    let length = order().content.len();
    for (most, accepted) in [(length, true), (length - 1, false)] {
        let response = verifying().response_limit(most).get(server.url("/")).send().await;
        assert_eq!(response.is_ok(), accepted, "{response:?}");
        if let Err(error) = response {
            assert!(matches!(error, Error::ResponseTooLarge { most: found } if found == most));
        }
    }
}

#[tokio::test]
async fn keys_are_read_from_the_directory_and_go_on_by_it() {
    let server = Server::start(|request, _| {
        let next = PrivateKey::ed25519(&[22; 32]).verifying_key();
        let own = PrivateKey::ed25519(&[SERVER; 32]).verifying_key();
        let directory = ServerKeys::new([own, next]).unwrap();
        match request.head.uri.path() {
            countersign::KEY_DIRECTORY_PATH => {
                let jwks = Made::new(StatusCode::OK, &directory.to_jwks());
                jwks.signed(request).into_response()
            }
            _ => order().signed(request).into_response(),
        }
    })
    .await;
    let url = server.url("/v1/orders?x=y");
    let keys_read = client().server_keys(&url).await.unwrap();
    let response = client().verify_responses(keys_read).get(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let next = verifying().server_keys(&url).await.unwrap();
    let id = countersign::KeyId::from(PrivateKey::ed25519(&[22; 32]).publishable_key());
    assert!(next.find(&id).is_some());
    let stranger = client().verify_responses(keys(5)).server_keys(&url).await;
    assert!(matches!(stranger, Err(Error::Response { reason: ResponseRejection::UnknownKey, .. })));
    let plain = client().server_keys("http://api.example.com/").await;
    assert!(matches!(plain, Err(Error::PlainDirectory)), "{plain:?}");
    let elsewhere = Server::start(|_, _| "no directory".into_response()).await;
    let none = client().server_keys(elsewhere.url("/")).await;
    assert!(matches!(none, Err(Error::Directory(_))), "{none:?}");
}
