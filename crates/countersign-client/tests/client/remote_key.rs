//! Keys that are elsewhere.

use std::{error::Error as StdError, io, sync::Arc};

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use countersign::{PrivateKey, PublishableKey, RemoteSigner};
use countersign_client::{Client, Error, RemoteKey};
use tokio::sync::Semaphore;

use crate::{
    forgeries::WISH,
    server::{NOW, Server, key, refusal},
};

/// A key in another task, which may be the wrong one, or away.
struct Elsewhere {
    named: PrivateKey,
    signs: Option<PrivateKey>,
    /// As many signatures as are asked for at once.
    free: Arc<Semaphore>,
}

impl RemoteKey for Elsewhere {
    fn publishable_key(&self) -> PublishableKey {
        self.named.publishable_key()
    }

    async fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        let _one = self.free.acquire().await?;
        tokio::task::yield_now().await;
        let away = || io::Error::new(io::ErrorKind::NotConnected, "the KMS is away");
        Ok(self.signs.as_ref().ok_or_else(away)?.sign(bytes).to_vec())
    }
}

fn elsewhere(signs: Option<PrivateKey>) -> Elsewhere {
    Elsewhere { named: key(), signs, free: Arc::new(Semaphore::new(4)) }
}

#[tokio::test]
async fn a_key_elsewhere_signs_every_attempt_and_covers_what_the_server_asks_for() {
    let server = Server::start(|_, number| match number {
        1 => refusal("signature-stale", &[(header::DATE, "Sun, 23 Nov 2025 12:13:20 GMT")]),
        2 => refusal("signature-policy", &[(countersign::ACCEPT_SIGNATURE, WISH)]),
        _ => StatusCode::CREATED.into_response(),
    })
    .await;
    let late = countersign::Timestamp::from_unix(NOW.unix() - 600);
    let client = Client::from_remote_key(elsewhere(Some(key()))).unwrap().clock(move || late);
    assert_eq!(client.publishable_key(), key().publishable_key());
    let order = client.post(server.url("/v1/orders")).header("x-tenant", "shop").body("text");
    assert_eq!(order.send().await.unwrap().status(), StatusCode::CREATED);
    let received = server.received();
    assert_eq!(received.len(), 3);
    received[1].verify(NOW);
    received[2].verify(NOW);
    assert!(received[2].header("signature-input").contains("x-tenant"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a,b").unwrap();
    client.put(server.url("/files/a")).file(file.path()).send().await.unwrap();
    server.received()[3].verify(NOW);
}

#[tokio::test]
async fn a_signature_of_another_key_is_not_sent_and_neither_is_none() {
    let server = Server::that_accepts().await;
    let other = Client::from_remote_key(elsewhere(Some(PrivateKey::ed25519(&[8; 32])))).unwrap();
    let error = other.get(server.url("/")).send().await.unwrap_err();
    assert!(matches!(error, Error::Sign(countersign::SignError::Signature)), "{error:?}");
    let away = Client::from_remote_key(elsewhere(None)).unwrap();
    match away.get(server.url("/")).send().await.unwrap_err() {
        Error::RemoteKey(source) => assert_eq!(source.to_string(), "the KMS is away"),
        other => panic!("{other:?}"),
    }
    let at_once = away.get(server.url("/")).sign().unwrap_err();
    assert!(matches!(at_once, Error::KeyElsewhere), "{at_once:?}");
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn a_signer_for_a_key_elsewhere_has_a_tag_of_its_own() {
    let server = Server::that_accepts().await;
    let signer = RemoteSigner::new(key().publishable_key()).unwrap().tag("shop").unwrap();
    let client = Client::from_remote_signer(signer, elsewhere(Some(key()))).unwrap();
    client.get(server.url("/")).send().await.unwrap();
    assert!(server.received()[0].header("signature-input").ends_with(";tag=\"shop\""));
}
