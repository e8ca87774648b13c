use std::collections::HashSet;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use countersign_client::{Error, Form, PublishableClient};

use crate::server::{NOW, Server, client, key, redirect};

#[tokio::test]
async fn every_way_to_build_a_request_is_signed() {
    let server = Server::that_accepts().await;
    let defaults = HeaderMap::from_iter([(
        header::HeaderName::from_static("idempotency-key"),
        HeaderValue::from_static("\"1\""),
    )]);
    let client = client().default_headers(defaults);
    let url = |target| server.url(target);
    let order = serde_json::json!({ "item": "book" });
    let requests = [
        client.get(url("/v1/orders?state=new")),
        client.get(url("/a%20b/c?q=a+b&q=%2F")),
        client.head(url("/")),
        client.delete(url("/v1/orders/1")).bearer_auth("token"),
        client.post(url("/v1/orders")).json(&order),
        client.put(url("/v1/orders/1")).form(&[("item", "book")]),
        client.patch(url("/v1/orders/1")).query(&[("a", "b c")]).body("text"),
        client.post(url("/empty")).header("x-other", "1").body(""),
    ];
    let count = requests.len();
    for request in requests {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    }
    let received = server.received();
    assert_eq!(received.len(), count);
    let nonces: HashSet<_> = received.iter().map(|request| request.verify(NOW)).collect();
    assert_eq!(nonces.len(), count, "a nonce came twice");
    for request in &received {
        assert!(request.header("signature-input").contains("\"idempotency-key\""));
    }
    assert!(received[3].header("signature-input").contains("\"authorization\""));
    assert!(received[4].header("signature-input").contains(r#""content-digest" "content-type""#));
}

#[tokio::test]
async fn a_default_header_has_all_its_values_or_gives_way() {
    let server = Server::that_accepts().await;
    let tag = header::HeaderName::from_static("x-tag");
    let values = ["a", "b"].map(|value| (tag.clone(), HeaderValue::from_static(value)));
    let client = client().default_headers(values.into_iter().collect());
    client.get(server.url("/")).send().await.unwrap();
    client.get(server.url("/")).header("x-tag", "c").send().await.unwrap();
    let received = server.received();
    let sent = received.iter().map(|request| {
        let values = request.head.headers.get_all("x-tag").iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(sent.collect::<Vec<_>>(), [vec!["a", "b"], vec!["c"]]);
}

#[tokio::test]
async fn a_request_that_is_sent_by_others_is_signed_too() {
    let server = Server::that_accepts().await;
    let request = client().post(server.url("/v1/orders")).body("text").sign().unwrap();
    reqwest::Client::new().execute(request).await.unwrap();
    server.received()[0].verify(NOW);
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_sent() {
    let server = Server::that_accepts().await;
    let url = server.url("/v1/orders");
    let stream = || reqwest::Body::wrap(http_body_util::Full::new(Bytes::from("text")));
    let client = client();
    let error = client.post(&url).body(stream()).send().await.unwrap_err();
    assert!(matches!(error, Error::StreamingBody), "{error:?}");
    let error = client.post(&url).header("host", "other.example").send().await.unwrap_err();
    assert!(matches!(error, Error::HostHeader), "{error:?}");
    for (name, value) in [("content-length", "2"), ("transfer-encoding", "chunked")] {
        let framed = client.post(&url).header(name, value).body("text").send().await.unwrap_err();
        assert!(matches!(&framed, Error::FramingHeader { field } if field == name), "{framed:?}");
    }
    let twice = client.post(&url).header("content-type", "a/b").header("content-type", "c/d");
    assert!(matches!(twice.send().await.unwrap_err(), Error::Sign(_)));
    let wrong_digest = client.post(&url).header("content-digest", "sha-256=:AAAA:").body("text");
    assert!(matches!(wrong_digest.send().await.unwrap_err(), Error::Sign(_)));
    let dots = client.get(format!("{url}/%2e%2e%2fother")).send().await.unwrap_err();
    assert!(matches!(dots, Error::Sign(_)), "{dots:?}");
    assert!(matches!(client.get("ftp://host/").send().await.unwrap_err(), Error::Url(_)));
    assert!(matches!(client.get("no url").send().await.unwrap_err(), Error::Http(_)));
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn a_publishable_client_sends_the_key_and_no_signature() {
    let elsewhere = Server::that_accepts().await;
    let other = elsewhere.url("/");
    let server = Server::start(move |_, _| redirect(StatusCode::FOUND, &other)).await;
    let client = PublishableClient::new(key().publishable_key()).unwrap();
    client.get(server.url("/v1/orders")).send().await.unwrap();
    let received = server.received();
    assert_eq!(received[0].header("x-api-key"), key().publishable_key().to_string());
    assert_eq!(received[0].header("signature"), "");
    assert_eq!(elsewhere.received().len(), 0, "the key went elsewhere");
}

#[test]
fn either_client_gives_up_after_a_while() {
    let signed = format!("{:?}", client());
    let publishable = format!("{:?}", PublishableClient::new(key().publishable_key()).unwrap());
    for client in [signed, publishable] {
        assert!(client.contains("Timeout: 60s"), "{client}");
    }
}

/// A canary: in whatever form it is printed, the key is not in it.
#[test]
fn nothing_prints_the_secret() {
    const SEED: &[u8; 32] = b"canary of the client's own tests";
    let key = || countersign::PrivateKey::ed25519(SEED);
    let client = countersign_client::Client::new(key()).unwrap();
    let mut printed = vec![
        format!("{client:?}"),
        format!("{:?}", client.get("http://localhost/").bearer_auth("token of a canary")),
        format!("{:?}", client.post("http://localhost/").multipart(Form::new().text("a", "b"))),
        format!("{:?}", client.get("http://localhost/a//b").sign().unwrap_err()),
    ];
    #[cfg(feature = "blocking")]
    {
        let blocking = countersign_client::blocking::Client::new(key()).unwrap();
        printed.push(format!("{blocking:?} {:?}", blocking.get("http://localhost/")));
    }
    #[cfg(feature = "middleware")]
    printed.push(format!("{:?}", client.middleware()));
    #[cfg(feature = "tower")]
    printed.push(format!("{:?}", client.layer()));
    #[cfg(feature = "key-files")]
    {
        // A key that is broken, and a key where the name of its place belongs.
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = key().expose_text();
        std::fs::write(file.path(), text.replace("sk_", "sk_1")).unwrap();
        let error = countersign_client::Client::from_key_file(file.path()).unwrap_err();
        printed.push(format!("{error:?} {error}"));
        let error = text.parse::<countersign_client::KeySource>().unwrap_err();
        printed.push(format!("{error:?} {error}"));
    }
    let forms = [
        key().expose_text().trim_start_matches("sk_").to_owned(),
        "canary".to_owned(),
        format!("{SEED:?}").trim_matches(['[', ']']).to_owned(),
        "63616e617279".to_owned(),
    ];
    for printed in printed {
        for form in &forms {
            assert!(!printed.contains(form.as_str()), "{form}: {printed}");
        }
    }
}
