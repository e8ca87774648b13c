use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, header::HeaderName},
    response::IntoResponse,
};

use countersign_client::{Client, RequestBuilder};

use crate::server::{NOW, Server, client, redirect};

const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];

/// A server on which `/old` has moved to `/new`.
async fn that_moved(status: StatusCode) -> Server {
    Server::start(move |request, _| match request.head.uri.path() {
        "/old" => redirect(status, "/new"),
        _ => StatusCode::OK.into_response(),
    })
    .await
}

#[tokio::test]
async fn a_signature_is_not_carried_to_another_origin() {
    let elsewhere = Server::that_accepts().await;
    let other = elsewhere.url("/v1/orders");
    let server = Server::start(move |_, _| redirect(StatusCode::TEMPORARY_REDIRECT, &other)).await;
    let client = client();
    for request in [client.get(server.url("/a")), client.post(server.url("/a")).body("x")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    }
    assert_eq!(server.received().len(), 2);
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_signed_anew() {
    let server = Server::start(|request, _| match request.head.uri.path() {
        "/old" => redirect(StatusCode::TEMPORARY_REDIRECT, "/new?a=b"),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let client = client().insecure_follow_redirected_writes();
    let response = client.post(server.url("/old")).body("text").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = server.received();
    assert_eq!(received[1].head.method, "POST");
    assert_eq!(received[1].head.uri, "/new?a=b");
    assert_eq!(received[1].content, "text");
    assert_ne!(received[0].verify(NOW), received[1].verify(NOW));
}

#[tokio::test]
async fn a_write_is_not_signed_for_where_a_redirect_leads_unless_that_is_asked_for() {
    type Write = (&'static str, fn(&Client, &str) -> RequestBuilder);
    let writes: [Write; 8] = [
        ("POST with content", |client, url| client.post(url).body("text")),
        ("POST", |client, url| client.post(url)),
        ("PUT", |client, url| client.put(url).body("text")),
        ("PATCH", |client, url| client.patch(url).body("text")),
        ("DELETE", |client, url| client.delete(url)),
        ("OPTIONS", |client, url| client.request(Method::OPTIONS, url)),
        ("GET with content", |client, url| client.get(url).body("text")),
        ("GET that is a DELETE", |client, url| {
            client.get(url).header("x-http-method-override", "DELETE")
        }),
    ];
    for status in REDIRECTS {
        let server = that_moved(status).await;
        let url = server.url("/old");
        for (name, write) in writes {
            let before = server.received().len();
            let response = write(&client(), &url).send().await.unwrap();
            assert_eq!(response.status(), status, "{name}");
            assert_eq!(server.received().len(), before + 1, "{name} followed {status}");

            let asked_for = client().insecure_follow_redirected_writes();
            let response = write(&asked_for, &url).send().await.unwrap();
            let keeps_the_method = status.as_u16() >= 307;
            assert_eq!(response.status() == StatusCode::OK, keeps_the_method, "{name} {status}");
        }
        let overridden =
            (HeaderName::from_static("x-method-override"), HeaderValue::from_static("PUT"));
        let client = client().default_headers(HeaderMap::from_iter([overridden]));
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), status, "a default header that overrides the method");
    }
}

#[tokio::test]
async fn a_read_is_signed_anew_for_where_a_redirect_within_the_origin_leads() {
    for status in REDIRECTS {
        let server = that_moved(status).await;
        for method in [Method::GET, Method::HEAD] {
            let response =
                client().request(method.clone(), server.url("/old")).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{method} {status}");
            let received = server.received();
            let last = received.last().unwrap();
            assert_eq!((last.head.uri.path(), &last.head.method), ("/new", &method));
            last.verify(NOW);
        }
    }
}

#[tokio::test]
async fn a_redirect_that_would_change_a_write_into_a_read_is_not_followed() {
    let statuses = [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::SEE_OTHER];
    for status in statuses {
        let server = Server::start(move |request, _| match request.head.uri.path() {
            "/old" => redirect(status, "/new"),
            _ => StatusCode::OK.into_response(),
        })
        .await;
        let client = client();
        let written = client.post(server.url("/old")).body("text").send().await.unwrap();
        assert_eq!(written.status(), status);
        assert_eq!(server.received().len(), 1);
        let read = client.get(server.url("/old")).send().await.unwrap();
        assert_eq!(read.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::start(|_, _| redirect(StatusCode::TEMPORARY_REDIRECT, "/again")).await;
    let response = client().get(server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.received().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_where_nothing_signed_can_go_is_given_back() {
    for location in ["/a//b", "/a?", "/a%2fb"] {
        let server = Server::start(move |_, _| redirect(StatusCode::FOUND, location)).await;
        let response = client().get(server.url("/old")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FOUND, "{location}");
        assert_eq!(response.headers()["location"], location);
        assert_eq!(server.received().len(), 1, "{location}");
    }
}
