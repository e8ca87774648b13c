use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use countersign::Timestamp;
use countersign_server::{Route, RouteTable, Usage, VerifiedBody, Verifier};
use countersign_store::{ClientAddress, MemoryKeys, State, StoreError, UsageBatch, UsageSink};
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt as _, Empty, Full};
use tower::{Service, ServiceBuilder, service_fn};

use crate::{
    figure::{Figure, Target},
    layer::guard,
    order::ed25519,
    ratio::Ratio,
};

/// What recording a call may take, in nanoseconds.
const MARK: f64 = 300.0;
/// How many rounds the median is of.
const ROUNDS: usize = 100;
/// As browsers send it, which is longer than what programs send.
const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

/// A sink that saves nothing.
struct Away;

impl UsageSink for Away {
    async fn save(&self, _: &UsageBatch, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What recording a call adds to a read with a publishable key, which is called in one thread and never waits.
pub(crate) fn figures() -> Vec<Figure> {
    let usage = Usage::record_to(Away).pace(Duration::from_secs(3600));
    let mut recorded = service(|verifier| verifier.usage(usage));
    let mut unrecorded = service(|verifier| verifier);
    let mut figures = Vec::new();
    for (name, agent) in [("program", "okhttp/4.12.0"), ("browser", BROWSER)] {
        let request = request(agent);
        let ratio = Ratio::measure(
            ROUNDS,
            || call(&mut recorded, request.clone()),
            || call(&mut unrecorded, request.clone()),
        );
        let nanos = |time: Duration| time.as_secs_f64() * 1e9;
        let added = nanos(ratio.first) - nanos(ratio.second);
        let detail = format!("{:.0} ns by {:.0} ns", nanos(ratio.first), nanos(ratio.second));
        let name = format!("usage/record-a-call/{name}");
        let mark = Some(Target::AtMost(MARK));
        figures.push(Figure::new(name, added, "ns", mark).detail(detail));
    }
    figures
}

fn service(
    change: impl FnOnce(
        Verifier<MemoryKeys, countersign_store::MemoryNonces>,
    ) -> Verifier<MemoryKeys, countersign_store::MemoryNonces>,
) -> impl Service<Request<Full<Bytes>>, Response: IntoContent, Error = Infallible> {
    let keys = MemoryKeys::default();
    keys.insert(harness::credential(4, &ed25519(), State::Active)).unwrap();
    let origins = countersign::Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    let routes = RouteTable::new([Route::read("/v1/orders")]).unwrap();
    let verifier = change(Verifier::new(origins, keys, guard()).routes(routes));
    let handler = service_fn(async |_: Request<VerifiedBody<Full<Bytes>>>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    ServiceBuilder::new().layer(verifier.layer()).service(handler)
}

/// A response whose content is read.
trait IntoContent {
    fn read(self) -> impl Future<Output = ()>;
}

impl<B: http_body::Body> IntoContent for Response<B> {
    async fn read(self) {
        assert_eq!(self.status(), 200);
        drop(self.into_body().collect().await);
    }
}

fn request(agent: &str) -> Request<Full<Bytes>> {
    let mut request = Request::get("/v1/orders")
        .header("host", "api.example.com")
        .header("x-api-key", ed25519().publishable_key().to_string())
        .body(Full::new(Bytes::new()))
        .unwrap();
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_str(agent).unwrap());
    let address: std::net::IpAddr = [192, 0, 2, 1].into();
    request.extensions_mut().insert(ClientAddress::from(address));
    request
}

/// Calls a service that never waits.
fn call<S>(service: &mut S, request: Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>, Response: IntoContent, Error = Infallible>,
{
    let mut called = pin!(async {
        let response = service.call(request).await;
        response.unwrap_or_else(|never| match never {}).read().await;
    });
    match called.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(()) => {}
        Poll::Pending => panic!("a call waits"),
    }
}
