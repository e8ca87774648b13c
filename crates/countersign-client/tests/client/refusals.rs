use std::{io, time::Duration};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign::{ACCEPT_SIGNATURE, Code, REFUSAL};
use countersign_client::Refusal;

use crate::{
    forgeries::WISH,
    server::{Pieces, Server, client, refusal},
};

#[tokio::test]
async fn a_refusal_is_recognised_however_it_is_sent() {
    let types = [
        "application/problem+json",
        "Application/Problem+JSON",
        "application/problem+json; charset=utf-8",
    ];
    for content_type in types {
        for pieces in [false, true] {
            let server = Server::start(move |_, _| {
                let mut refusal = refusal("signature-invalid", &[]);
                let headers = refusal.headers_mut();
                headers.remove(REFUSAL);
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
                if pieces {
                    let text = r#"{"code":"signature-invalid","detail":"why"}"#;
                    *refusal.body_mut() = Pieces::of(text, None);
                }
                refusal
            })
            .await;
            let response = client().get(server.url("/")).send().await.unwrap();
            let refusal = Refusal::check(response).await.unwrap_err();
            assert_eq!(refusal.code.as_str(), "signature-invalid", "{content_type} {pieces}");
        }
    }
}

/// A service behind the server's verifier can be a proxy, and what is behind that another Countersign server.
#[tokio::test]
async fn a_client_acts_on_no_refusal_that_only_the_content_names() {
    for code in ["signature-stale", "signature-policy", "signature-required"] {
        for named in [false, true] {
            let server = Server::start(move |_, number| {
                let date = (header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT");
                let mut answer = match number {
                    1 => refusal(code, &[date, (ACCEPT_SIGNATURE, WISH)]),
                    _ => return StatusCode::CREATED.into_response(),
                };
                if !named {
                    answer.headers_mut().remove(REFUSAL);
                }
                answer
            })
            .await;
            let order = client().post(server.url("/v1/orders")).header("x-tenant", "shop");
            let response = order.body("{}").send().await.unwrap();
            let (status, sent) = match named {
                false => (StatusCode::UNAUTHORIZED, 1),
                true => (StatusCode::CREATED, 2),
            };
            assert_eq!((response.status(), server.received().len()), (status, sent), "{code}");
        }
    }
}

#[tokio::test]
async fn what_is_no_refusal_is_given_back_whole() {
    let long = format!("{{\"code\":\"signature-invalid\",\"detail\":\"{}\"}}", "x".repeat(100_000));
    let texts = ["", "[]", "null", r#"{"code":"unheard-of"}"#, r#"{"code":5}"#, &long];
    let answers = texts.map(str::to_owned);
    let answer = move |number: usize| answers[(number - 1) / 2].clone();
    let server = Server::start(move |_, number| {
        let mut response = refusal("signature-invalid", &[]);
        response.headers_mut().remove(REFUSAL);
        *response.body_mut() = match number % 2 {
            0 => answer(number).into(),
            _ => Pieces::of(&answer(number), None),
        };
        response
    })
    .await;
    for text in texts.iter().flat_map(|text| [text, text]) {
        let response = client().get(server.url("/a")).send().await.unwrap();
        let response = Refusal::check(response).await.unwrap();
        assert_eq!(response.url().path(), "/a");
        assert_eq!(response.text().await.unwrap(), **text);
    }
}

/// What becomes of a refusal by the service that has given it content and a status of its own.
fn own(code: &str, status: StatusCode, content_type: &str, content: &'static str) -> Response {
    let fields =
        [("countersign-refusal", code), ("content-type", content_type), ("x-request-id", "r7")];
    (status, fields, content).into_response()
}

#[tokio::test]
async fn a_refusal_with_content_of_the_services_own_is_known_by_its_field() {
    let page = || own("signature-invalid", StatusCode::FORBIDDEN, "text/html", "<p>No.</p>");
    let other = || {
        let other = r#"{"code":"key-expired","detail":"x"}"#;
        own("signature-invalid", StatusCode::FORBIDDEN, "application/problem+json", other)
    };
    let broken =
        || own("signature-invalid", StatusCode::FORBIDDEN, "application/problem+json", "{");
    let cases: [fn() -> Response; 3] = [page, other, broken];
    for answer in cases {
        let server = Server::start(move |_, _| answer()).await;
        let response = client().get(server.url("/")).send().await.unwrap();
        let of_head = Refusal::of_head(response.status(), response.headers());
        let refusal = Refusal::check(response).await.unwrap_err();
        assert_eq!(of_head.as_ref(), Some(&refusal));
        assert_eq!((refusal.status, refusal.code), (StatusCode::FORBIDDEN, Code::SignatureInvalid));
        assert_eq!(
            (&*refusal.detail, &*refusal.request_id),
            (Code::SignatureInvalid.title(), "r7")
        );
        assert_eq!(refusal.hint, Code::SignatureInvalid.hint());
    }
}

#[tokio::test]
async fn a_field_that_names_no_known_code_makes_no_refusal() {
    let known = r#"{"code":"signature-invalid","detail":"why"}"#;
    for (code, is_refusal) in [("unheard-of", false), ("\"signature-invalid\"", true)] {
        let server = Server::start(move |_, _| {
            own(code, StatusCode::UNAUTHORIZED, "application/problem+json", known)
        })
        .await;
        let response = client().get(server.url("/")).send().await.unwrap();
        let checked = Refusal::check(response).await;
        assert_eq!(checked.is_err(), is_refusal, "{code}: {checked:?}");
        if let Ok(response) = checked {
            assert_eq!(response.text().await.unwrap(), known);
        }
    }
}

#[tokio::test]
async fn a_refusal_that_redirects_people_is_not_followed() {
    let server = Server::start(|_, _| {
        let mut page = own("key-revoked", StatusCode::SEE_OTHER, "text/html", "");
        page.headers_mut().insert(header::LOCATION, "/login".parse().unwrap());
        page.headers_mut().insert(header::SET_COOKIE, "session=1234".parse().unwrap());
        page
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    assert_eq!(server.received().len(), 1);
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!(refusal.code, Code::KeyRevoked);
    let printed = format!("{refusal:?}");
    assert!(printed.contains("set-cookie") && !printed.contains("1234"), "{printed}");
}

#[tokio::test]
async fn what_a_refusal_is_answered_by_does_not_depend_on_its_content() {
    let server = Server::start(|_, number| match number {
        1 => {
            let mut page = own("signature-stale", StatusCode::FORBIDDEN, "text/html", "<p>No.</p>");
            let date = "Sun, 23 Nov 2025 12:05:20 GMT".parse().unwrap();
            page.headers_mut().insert(header::DATE, date);
            page
        }
        2 => {
            let mut page =
                own("signature-policy", StatusCode::FORBIDDEN, "text/html", "<p>No.</p>");
            let asked = r#"sig=("x-tenant");created;tag="countersign""#.parse().unwrap();
            page.headers_mut().insert(countersign::ACCEPT_SIGNATURE, asked);
            page
        }
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let request = client().post(server.url("/")).header("x-tenant", "t1").body("text");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back_and_what_is_left() {
    let server = Server::start(|_, _| {
        let content = r#"{"code":"rate-limited","detail":"why","hint":"h","request_id":"r1",
            "violated-policies":["signed-60"]}"#;
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut limited = own("rate-limited", status, "application/problem+json", content);
        let fields = [
            ("retry-after", "29"),
            ("ratelimit", "\"signed-60\";r=0;t=29"),
            ("ratelimit-policy", "\"signed-60\";q=2;w=60"),
        ];
        for (name, value) in fields {
            limited.headers_mut().insert(name, value.parse().unwrap());
        }
        limited
    })
    .await;
    let hurried = client().wait_up_to(Duration::ZERO);
    let response = hurried.get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(29)));
    assert_eq!(refusal.violated_policies, ["signed-60"]);
    let left = refusal.quota_left.unwrap();
    assert_eq!((&*left.name, left.remaining), ("signed-60", 0));
    assert_eq!(left.resets_in, Some(Duration::from_secs(29)));
    assert_eq!(refusal.headers["ratelimit-policy"], "\"signed-60\";q=2;w=60");
    assert_eq!((&*refusal.detail, &*refusal.hint, &*refusal.request_id), ("why", "h", "r1"));
}

#[tokio::test]
async fn an_answer_that_succeeded_is_no_refusal_whatever_it_says() {
    let server = Server::start(|_, _| {
        let mut answer = refusal("signature-invalid", &[]);
        *answer.status_mut() = StatusCode::OK;
        answer.headers_mut().remove(REFUSAL);
        answer
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    let response = Refusal::check(response).await.unwrap();
    assert!(response.text().await.unwrap().contains("signature-invalid"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let server = Server::start(|_, _| {
        let mut refusal = refusal("signature-invalid", &[]);
        refusal.headers_mut().remove(REFUSAL);
        let text = r#"{"code":"signature-invalid"}"#;
        *refusal.body_mut() = Pieces::of(text, Some(io::ErrorKind::BrokenPipe.into()));
        refusal
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = Refusal::check(response).await.unwrap();
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_refusal_is_told_without_what_steers_a_terminal() {
    let server = Server::start(|_, _| {
        let mut refusal = refusal("signature-invalid", &[]);
        let text =
            r#"{"code":"signature-invalid","detail":"\u001b[31mred\u0007\nerror","hint":"h\r\u202e"}"#;
        *refusal.body_mut() = text.into();
        refusal
    })
    .await;
    let response = client().get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(response).await.unwrap_err();
    assert_eq!(refusal.to_string(), "signature-invalid: [31mrederror; h");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_hint_and_other_answers_stay_whole() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-replayed", &[]),
        _ => (StatusCode::UNAUTHORIZED, "not ours").into_response(),
    })
    .await;
    let client = client();
    let send = async || client.get(server.url("/")).send().await.unwrap();
    let refusal = Refusal::check(send().await).await.unwrap_err();
    assert_eq!(refusal.code.as_str(), "signature-replayed");
    let texts = (refusal.detail.as_str(), refusal.hint.as_str(), refusal.request_id.as_str());
    assert_eq!(texts, ("why", "what to do", "r1"));
    assert_eq!(refusal.to_string(), "signature-replayed: why; what to do");
    let response = Refusal::check(send().await).await.unwrap();
    assert_eq!(response.url().path(), "/");
    assert_eq!(response.text().await.unwrap(), "not ours");
}
