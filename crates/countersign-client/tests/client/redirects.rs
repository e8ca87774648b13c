use axum::{http::StatusCode, response::IntoResponse};

use crate::server::{NOW, Server, client, redirect};

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
    let response = client().post(server.url("/old")).body("text").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = server.received();
    assert_eq!(received[1].head.method, "POST");
    assert_eq!(received[1].head.uri, "/new?a=b");
    assert_eq!(received[1].content, "text");
    assert_ne!(received[0].verify(NOW), received[1].verify(NOW));
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
