use std::{fs, io::Write as _};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use countersign_client::{Error, Form, Part, reqwest};

use crate::server::{NOW, Server, client, refusal};

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_anew_for_each_attempt() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:05:20 GMT")]),
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (path, empty) = (folder.path().join("orders.csv"), folder.path().join("empty"));
    // More than one buffer, and no multiple of it.
    let content: Vec<u8> = (0..700_001_u32).map(|at| at.to_le_bytes()[0]).collect();
    fs::write(&path, &content).unwrap();
    fs::write(&empty, "").unwrap();
    let upload = client().put(server.url("/files/a")).header("content-type", "text/csv");
    assert_eq!(upload.file(&path).send().await.unwrap().status(), StatusCode::CREATED);
    client().put(server.url("/files/b")).file(&empty).send().await.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].content, content);
    assert_eq!(received[1].content, content);
    assert_eq!(received[1].header("content-length"), "700001");
    let server_time = countersign::Timestamp::from_unix(NOW.unix() - 480);
    assert_ne!(received[0].verify(NOW), received[1].verify(server_time));
    assert_eq!(received[2].content, "");
    received[2].verify(NOW);
}

#[tokio::test]
async fn a_file_for_another_sender_is_signed_too() {
    let server = Server::that_accepts().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    fs::write(&path, "a,b").unwrap();
    let request = client().put(server.url("/files/a")).file(&path).sign().unwrap();
    reqwest::Client::new().execute(request).await.unwrap();
    server.received()[0].verify(NOW);
    assert_eq!(server.received()[0].content, "a,b");
}

#[tokio::test]
async fn a_form_has_its_fields_and_its_files() {
    let server = Server::that_accepts().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    fs::write(&path, "a,b").unwrap();
    let form = Form::new().text("title", "Orders of May").file("sheet", &path).part(
        "image",
        Part::bytes(&b"\x89PNG"[..])
            .file_name("o.png")
            .content_type(HeaderValue::from_static("image/png")),
    );
    client().post(server.url("/imports")).multipart(form).send().await.unwrap();
    let received = &server.received()[0];
    received.verify(NOW);
    let boundary = received.header("content-type").split_once("boundary=").unwrap().1;
    let content = String::from_utf8_lossy(&received.content);
    let parts: Vec<_> = content.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 5, "{content}");
    assert_eq!(
        parts[2],
        "\r\nContent-Disposition: form-data; name=\"sheet\"; filename=\"orders.csv\"\r\nContent-Type: application/octet-stream\r\n\r\na,b\r\n"
    );
    assert_eq!(parts[4], "--\r\n");
}

#[tokio::test]
async fn content_that_cannot_be_signed_is_not_sent_and_the_error_says_what_to_do() {
    let server = Server::that_accepts().await;
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.csv");
    for path in [missing.as_path(), folder.path(), std::path::Path::new("/dev/null")] {
        let error = client().put(server.url("/")).file(path).send().await.unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
    }
    let stream = || reqwest::Body::wrap(http_body_util::Full::new(Bytes::from("text")));
    let error = client().put(server.url("/")).body(stream()).send().await.unwrap_err();
    for way in ["RequestBuilder::file", "RequestBuilder::stream", "Content-Digest"] {
        assert!(error.to_string().contains(way), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "text").unwrap();
    let digest = |of: &[u8]| countersign::ContentDigest::sha256(of).to_header().unwrap();
    let upload = |of| client().put(server.url("/")).header("content-digest", digest(of));
    let wrong = upload(b"other").file(file.path()).send().await.unwrap_err();
    assert!(matches!(wrong, Error::Sign(_)), "{wrong:?}");
    let malformed = client().put(server.url("/")).header("content-digest", "md5=:AA==:");
    assert!(matches!(
        malformed.body(stream()).send().await.unwrap_err(),
        Error::StreamingBody | Error::Sign(_)
    ));
    assert_eq!(server.received().len(), 0);
    upload(b"text").file(file.path()).send().await.unwrap();
    server.received()[0].verify(NOW);
}

/// A process that writes may never come.
#[cfg(unix)]
#[tokio::test]
async fn a_pipe_with_a_name_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (told, outcome) = std::sync::mpsc::channel();
    let path = pipe.clone();
    std::thread::spawn(move || {
        let signed = client().put("https://api.example.com/files/a").file(path).sign();
        told.send(signed).unwrap();
    });
    let outcome = outcome.recv_timeout(std::time::Duration::from_secs(30));
    let error = outcome.unwrap().unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == pipe), "{error:?}");
    let told = countersign::with_reasons(&error);
    assert!(told.contains("RequestBuilder::body"), "{told}");
}

#[tokio::test]
async fn the_later_content_replaces_the_earlier() {
    let server = Server::that_accepts().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    fs::write(&path, "a,b").unwrap();
    client().put(server.url("/")).file(&path).body("text").send().await.unwrap();
    client().put(server.url("/")).body("text").file(&path).send().await.unwrap();
    let received = server.received();
    assert_eq!((&*received[0].content, &*received[1].content), (&b"text"[..], &b"a,b"[..]));
    received.iter().for_each(|request| drop(request.verify(NOW)));
}

#[tokio::test]
async fn a_file_that_changes_between_two_attempts_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    fs::write(&path, "a,b").unwrap();
    let changed = path.clone();
    let server = Server::start(move |_, _| {
        fs::OpenOptions::new().append(true).open(&changed).unwrap().write_all(b",c").unwrap();
        refusal("rate-limited", &[(header::RETRY_AFTER, "0")])
    })
    .await;
    let error = client().put(server.url("/")).file(&path).send().await.unwrap_err();
    assert!(matches!(error, Error::FileChanged { .. }), "{error:?}");
    assert_eq!(server.received().len(), 1);
}
