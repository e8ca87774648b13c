use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, routing::get};
use countersign::Origins;
use countersign_server::{Publishable, Signed, Verifier, serve};
use countersign_store::{MemoryNonces, Registry, Window, system_time};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::desk::Desk;

/// A server on the registry of a desk.
struct Server {
    url: String,
    /// How far its clock is ahead of this machine's, in seconds.
    ahead: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Server {
    fn start(desk: &Desk) -> Self {
        let runtime = Runtime::new().unwrap();
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&ahead);
        let db = format!("sqlite:{}", desk.path("registry.db").display());
        let url = runtime.block_on(async {
            let registry = Arc::new(Registry::open(&db).await.unwrap());
            let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time());
            let nonces = nonces.await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let origin = format!("http://{}", listener.local_addr().unwrap());
            let origins = Origins::new([origin.parse().unwrap()]).unwrap();
            let verifier = Verifier::new(origins, registry, nonces).clock(move || {
                system_time().plus(Duration::from_secs(clock.load(Ordering::SeqCst)))
            });
            let read = async |Publishable(caller): Publishable| caller.application().name.clone();
            let write = async |Signed(_, order): Signed<Json<Value>>| order;
            let app = Router::new().route("/v1/orders", get(read).post(write));
            tokio::spawn(serve(listener, app.layer(verifier.layer()), std::future::pending()));
            format!("{origin}/v1/orders")
        });
        Self { url, ahead, _runtime: runtime }
    }
}

#[test]
fn from_a_new_key_to_its_revocation() {
    let desk = Desk::with_registry();
    let server = Server::start(&desk);
    let url = server.url.as_str();
    let key = desk.run(["keygen", "--out", "id.key"]).done().trim().to_owned();
    let write = |more: &[&str]| {
        let fixed = ["curl", "--key", "id.key", "-sS", "--json", r#"{"item":"book"}"#];
        desk.run(fixed.iter().chain(more).chain(&[url]))
    };
    let read = || {
        let mut curl = desk.command("curl");
        let output = curl.args(["-sS", "-H", &format!("X-Api-Key: {key}"), url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };

    let unknown = write(&[]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert!(unknown.stdout.contains("signature-invalid"), "{unknown:?}");

    desk.run(["key", "add", "--app", "shop", "--public-key", "id.key.pub"]).done();
    // The server remembers for 5 s that there was no such key.
    server.ahead.store(5, Ordering::SeqCst);
    assert_eq!(write(&[]).done(), r#"{"item":"book"}"#);
    assert_eq!(write(&["--http2-prior-knowledge"]).done(), r#"{"item":"book"}"#);
    assert_eq!(read(), "shop");

    let forged = write(&["-H", "Host: other.example"]);
    assert_eq!(forged.code, 2, "{forged:?}");
    assert!(forged.stdout.contains("misdirected"), "{forged:?}");

    desk.run(["key", "revoke", &key]).done();
    server.ahead.store(10, Ordering::SeqCst);
    let revoked = write(&[]);
    assert_eq!(revoked.code, 3, "{revoked:?}");
    assert!(revoked.stdout.contains("key-revoked"), "{revoked:?}");
    assert!(read().contains("key-revoked"));
}
