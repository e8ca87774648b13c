//! Services that know nothing of axum: who calls them, and what they answer to whom they do not know well enough.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign_server::{Caller, ServedBody, SignedCaller, serve};
use harness::{Answer, Raw, Service, TestClock, exchange, key, verifier};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

type Reply = Response<Full<Bytes>>;

/// Says who called, and how much content there is for whoever signed it.
async fn reply<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Reply, Reply> {
    let text = match request.uri().path() {
        "/signed" => {
            let caller = SignedCaller::of(&request)?;
            let Ok(content) = request.into_body().collect().await else {
                return Ok(Response::new(Full::from("broken")));
            };
            format!("{} {}", caller.credential().label, content.to_bytes().len())
        }
        _ => format!("{:?}", Caller::of(&request)?.proof()),
    };
    Ok(Response::new(Full::from(text)))
}

async fn always<B: Body<Data = Bytes>>(request: Request<B>) -> Result<Reply, Infallible> {
    Ok(reply(request).await.unwrap_or_else(|refusal| refusal))
}

async fn send(address: SocketAddr, request: &Raw) -> Answer {
    exchange(address, &request.bytes()).await
}

#[tokio::test]
async fn a_plain_service_gets_its_caller_or_the_answer_to_give() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces())
        .insecure_open_path("/open");
    let service = verifier.layer().layer(service_fn(always));
    tokio::spawn(serve(listener, service, std::future::pending()));

    let publishable = key(1).publishable_key().to_string();
    let shown = |target: &str| Raw::read().target(target).add("X-Api-Key", &publishable);
    let label = send(address, &Raw::order().target("/signed").signed()).await.body;
    assert!(label.ends_with(" 15"), "{label}");
    for (request, proof) in [
        (shown("/known"), "Publishable"),
        (Raw::read().target("/known").signed(), "Signed"),
        (Raw::read().target("/open").signed(), "Signed"),
    ] {
        let answer = send(address, &request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, proof));
    }
    for (request, code) in [
        (shown("/signed"), "signature-required"),
        (Raw::order().target("/signed"), "signature-required"),
        (Raw::order().target("/signed").forged(&key(1)), "signature-invalid"),
        (Raw::order().target("/signed").signed().body(b"changed"), "digest-mismatch"),
        (Raw::read().target("/known"), "key-required"),
        (Raw::read().target("/open"), "key-required"),
    ] {
        assert_eq!(send(address, &request).await.code(), code, "{request:?}");
    }
}

#[tokio::test]
async fn nobody_is_known_where_the_verifier_was_forgotten() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(always::<ServedBody>);
    tokio::spawn(serve(listener, service, std::future::pending()));
    for target in ["/signed", "/known"] {
        let answer = send(address, &Raw::order().target(target).signed()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "misconfigured"));
    }
}

/// A service that is busy, ready or broken, as its number says.
#[derive(Clone)]
struct Told(Arc<AtomicU8>);

impl<B> tower::Service<Request<B>> for Told {
    type Response = Reply;
    type Error = &'static str;
    type Future = Ready<Result<Reply, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.0.load(Ordering::SeqCst) {
            0 => Poll::Pending,
            1 => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err("broken")),
        }
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn a_verifier_is_ready_when_the_service_behind_it_is() {
    let told = Told(Arc::default());
    let verifier = verifier(&TestClock::default(), Service::keys(), Service::nonces());
    let mut service = verifier.layer().layer(told.clone());
    for (number, expected) in
        [(0, Poll::Pending), (1, Poll::Ready(Ok(()))), (2, Poll::Ready(Err("broken")))]
    {
        told.0.store(number, Ordering::SeqCst);
        let asked = |context: &mut Context<'_>| {
            Poll::Ready(tower::Service::<Request<Full<Bytes>>>::poll_ready(&mut service, context))
        };
        assert_eq!(poll_fn(asked).await, expected);
    }
}

#[test]
fn a_verifier_prints_its_settings_and_none_of_its_keys() {
    let layer = verifier(&TestClock::default(), Service::keys(), Service::nonces()).layer();
    let printed = format!("{layer:?}");
    assert!(printed.starts_with("VerifierLayer(Verifier { ingress: "), "{printed}");
    assert!(printed.contains("policy: Policy {"), "{printed}");
    assert!(!printed.contains("pk_"), "{printed}");
    let service = layer.layer(Told(Arc::default()));
    assert_eq!(format!("{service:?}"), "VerifierService { .. }");
}
