//! `sign_with`: the service behind `countersign serve` verifies the signature of the proxy, with a verifier of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::get};
use countersign::{Origins, Window};
use countersign_server::{Signed, Verifier, serve};
use countersign_store::{MemoryNonces, Registry, system_time};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    desk::Desk,
    served::{ORIGIN, Served, desk_with_shop, signed_order},
    upstream::Upstream,
};

/// A service that accepts what the proxy signed, and says who calls.
struct Service {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Service {
    fn start(desk: &Desk) -> Self {
        let runtime = Runtime::new().unwrap();
        let db = format!("sqlite:{}", desk.path("hops.db").display());
        let address = runtime.block_on(async {
            let registry = Arc::new(Registry::open(&db).await.unwrap());
            // A guard refuses its first seconds. This one pretends to be an hour old.
            let started = system_time().minus(Duration::from_secs(3600));
            let nonces = MemoryNonces::volatile(Window::default(), started).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // The origin that callers know, and that of its own address.
            let own = format!("http://{address}").parse().unwrap();
            let origins = Origins::new([ORIGIN.parse().unwrap(), own]).unwrap();
            let verifier = Verifier::new(origins, registry, nonces);
            let tell = async |headers: HeaderMap, Signed(proxy, content): Signed<Bytes>| {
                let field = |name: &str| headers[name].to_str().unwrap().to_owned();
                let by = proxy.application().name.to_string();
                let (application, access) =
                    (field("countersign-application"), field("countersign-access"));
                let host = field("host");
                format!("{by} for {host}: {application}, {access}, {} bytes", content.len())
            };
            let app = Router::new().route("/v1/orders", get(tell).post(tell));
            tokio::spawn(serve(listener, app.layer(verifier.layer()), std::future::pending()));
            address
        });
        Self { address, _runtime: runtime }
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Makes the key of the proxy, and tells the service about it.
fn make_hop_key(desk: &Desk) {
    desk.run(["keygen", "--out", "hop.key"]).done();
    let db = ["--db", "sqlite:hops.db"];
    desk.run(["app", "add", "proxy"].into_iter().chain(db)).done();
    let add = ["key", "add", "--app", "proxy", "--public-key", "hop.key.pub"];
    desk.run(add.into_iter().chain(db)).done();
}

fn configure(desk: &Desk, upstream: SocketAddr, host: &str) {
    let text = format!(
        "origins = [\"{ORIGIN}\"]\n[upstream]\nservers = [\"http://{upstream}\"]\nsign_with = \"hop.key\"\nhost = \"{host}\"\n"
    );
    desk.write("serve.toml", text, 0o600);
}

#[test]
fn a_service_can_be_sure_that_a_request_came_through_the_proxy() {
    let (desk, key) = desk_with_shop();
    make_hop_key(&desk);
    let service = Service::start(&desk);
    for (host, named) in
        [("origin", "api.example.com"), ("upstream", &*service.address.to_string())]
    {
        configure(&desk, service.address, host);
        let served = Served::with(&desk, &["--config", "serve.toml"]);
        let response = served.read(&key, "");
        assert_eq!(response.status, 200, "{response:?}");
        let content = format!("proxy for {named}: shop, publishable, 0 bytes");
        assert_eq!(response.content(), content);
        let response = served.send(signed_order(&desk, "a book", ""));
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.content(), format!("proxy for {named}: shop, signed, 6 bytes"));
        // Stopped, so that the next one accepts signatures at once.
        served.signal("-TERM");
        assert!(served.wait().0.success());
    }
    // Past the proxy, callers get nowhere: the service knows the key of the proxy alone.
    let past = service.send(&signed_order(&desk, "a book", ""));
    assert!(past.starts_with("HTTP/1.1 401") && past.contains("signature-invalid"), "{past}");
}

#[test]
fn the_signature_of_the_proxy_covers_who_calls() {
    let (desk, key) = desk_with_shop();
    make_hop_key(&desk);
    let upstream = Upstream::well();
    configure(&desk, upstream.address, "origin");
    let served = Served::with(&desk, &["--config", "serve.toml"]);
    assert_eq!(served.read(&key, "").status, 200);
    let received = upstream.next();
    let request = format!("{}\r\nConnection: close\r\n\r\n", received.head.join("\r\n"));
    let service = Service::start(&desk);
    for (is, forged) in [
        ("countersign-application: shop", "countersign-application: bank"),
        ("countersign-access: publishable", "countersign-access: signed"),
        ("countersign-scopes: orders:read orders:write", "countersign-scopes: all"),
        ("GET /v1/orders", "GET /v1/orders?all"),
    ] {
        assert!(request.contains(is), "{request}");
        let answer = service.send(&request.replace(is, forged));
        assert!(answer.contains("signature-invalid"), "{forged}: {answer}");
    }
    let answer = service.send(&request);
    assert!(answer.ends_with("shop, publishable, 0 bytes"), "{answer}");
    let again = service.send(&request);
    assert!(again.contains("signature-replayed"), "{again}");
}
