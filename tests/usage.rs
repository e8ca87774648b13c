//! What a server counts of its calls.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request as AxumRequest, response::Response};
use bytes::Bytes;
use countersign::Timestamp;
use countersign_server::{Publishable, Route, Routes, Signed, SignedBy, Usage};
use countersign_store::{
    AddressPrefix, CallAccess, CallKey, CallOutcome, ClientAddress, ClientKey, CredentialId,
    EventKind, Limited, Limits, MemoryKeys, PlaceKey, Platform, Quota, Restriction,
    RestrictionKind, Restrictions, RouteLabel, State, UsageBatch,
};
use futures_util::{StreamExt as _, stream};
use harness::{NOW, Raw, Service, TestClock, UsageDesk, credential, exchange, key, verifier};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};
use tower::ServiceExt as _;

/// Key 5 may be used from one network alone.
fn keys() -> MemoryKeys {
    let keys = MemoryKeys::default();
    let add = |number: u8, state| {
        keys.insert(credential(i64::from(number), &key(number), state)).unwrap();
    };
    add(1, State::Active);
    add(2, State::Revoked);
    add(3, State::Active);
    let office = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24"]).unwrap();
    let restricted = credential(5, &key(5), State::Active)
        .with_restrictions(Restrictions::default().with(office));
    keys.insert(restricted).unwrap();
    keys
}

fn routes() -> Routes {
    let answer = async |content: Bytes| content;
    Routes::new()
        .route(Route::read("/v1/orders"), async |Publishable(_): Publishable| "orders")
        .route(
            Route::signed(Method::POST, "/v1/orders"),
            async |Signed(_, content): Signed<Bytes>| (StatusCode::CREATED, content),
        )
        .route(Route::signed(Method::PUT, "/v1/orders/{id}").streamed(1 << 20), answer)
        .route(Route::insecure_open(Method::POST, "/v1/open"), answer)
        .route(Route::insecure_open(Method::GET, "/v1/ping").uncounted(), async || "pong")
        .route(Route::signed(Method::POST, "/v1/off").insecure_off(), answer)
        .route(Route::signed(Method::POST, "/v1/observed").insecure_observe(), answer)
        .undeclared(Router::new().route("/health", axum::routing::get(async || "well")))
}

/// A service that counts its calls.
pub(crate) fn app(usage: &Usage) -> Router {
    let verifier = verifier(&TestClock::default(), keys(), Service::nonces());
    verifier.usage(usage.clone()).public_path("/health").protect(routes()).unwrap()
}

/// Calls a service, and reads its response to its end.
pub(crate) async fn call(app: &Router, request: &Raw) -> u16 {
    let mut request = request.request();
    if let Some(from) = request.headers_mut().remove("test-from") {
        let from: IpAddr = from.to_str().unwrap().parse().unwrap();
        request.extensions_mut().insert(ClientAddress::from(from));
    }
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    drop(response.into_body().collect().await);
    status
}

/// With the publishable key of this number.
pub(crate) fn publishable(raw: Raw, number: u8) -> Raw {
    raw.add("X-Api-Key", key(number).publishable_key().to_string())
}

/// The allocations of so many calls, on this thread.
fn allocations(app: &Router, request: &Raw, calls: u32) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        for _ in 0..calls {
            assert_eq!(call(app, request).await, 200);
        }
    };
    allocation_counter::measure(|| runtime.block_on(work)).count_total
}

#[test]
fn a_call_of_a_known_key_and_program_is_counted_without_an_allocation() {
    let usage = Usage::record_to(UsageDesk::default());
    let plain = verifier(&TestClock::default(), keys(), Service::nonces());
    let counting = verifier(&TestClock::default(), keys(), Service::nonces()).usage(usage);
    let [plain, counting] = [plain, counting].map(|verifier| verifier.protect(routes()).unwrap());
    let request = publishable(Raw::read(), 1)
        .add("Test-From", "192.0.2.77")
        .add("User-Agent", "okhttp/4.12.0");
    for app in [&plain, &counting] {
        allocations(app, &request, 100);
    }
    let [plain, counting] = [plain, counting].map(|app| allocations(&app, &request, 1000));
    // A table may grow meanwhile.
    assert!(counting < plain + 10, "{counting} and {plain}");
}

fn declared(label: &str) -> RouteLabel {
    RouteLabel::Declared(label.into())
}

#[tokio::test]
async fn a_call_is_counted_by_its_key_route_place_and_program() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let app = app(&usage);
    let order = Raw::order()
        .target("/v1/orders?secret=1")
        .add("Test-From", "192.0.2.77")
        .add("User-Agent", "okhttp/4.12.0")
        .signed();
    assert_eq!(call(&app, &order).await, 201);
    usage.flush().await.unwrap();
    let (key, count) = desk.only();
    let minute = Timestamp::from_unix(NOW.unix() / 60 * 60);
    let credential = Some(CredentialId::new(1));
    let access = CallAccess::Signed;
    let expected = CallKey {
        minute,
        credential,
        route: declared("POST /v1/orders"),
        method: Method::POST,
        access,
        outcome: CallOutcome::Passed,
        status: StatusCode::CREATED,
    };
    assert_eq!(key, expected);
    assert_eq!((count.bytes_in, count.bytes_out), (15, 15));
    let batch = &desk.batches()[0];
    assert_eq!(batch.number, 1);
    let hour = Timestamp::from_unix(NOW.unix() / 3600 * 3600);
    let prefix = Some(AddressPrefix::of(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(batch.places, [(PlaceKey { hour, credential, prefix, access }, 1)].into());
    let (platform, product) = (Platform::Android, Some("okhttp".into()));
    let client = ClientKey { hour, credential, platform, product, access };
    assert_eq!(batch.clients, [(client, 1)].into());
    assert!(batch.events.is_empty());
    // Nothing was counted since.
    usage.flush().await.unwrap();
    assert_eq!(desk.batches().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_counted_under_the_credential_that_the_verifier_knew() {
    let outside = |raw: Raw| raw.add("Test-From", "198.51.100.7");
    let limited = || Limits::default().signed([Quota::per_minute(2.try_into().unwrap())]);
    let replayed = Raw::order().signed();
    let reader = |number| publishable(Raw::read(), number);
    let unknown = Raw::order().signed_by(key(9), NOW);
    use CallAccess::{Open, Publishable as Known, Signed as Valid};
    use EventKind as Kind;
    /// What is sent; the status, credential, access and code of the last refusal, and the event.
    type Case = (
        &'static str,
        Vec<Raw>,
        u16,
        Option<i64>,
        CallAccess,
        &'static str,
        Option<(EventKind, Option<&'static str>)>,
    );
    let cases: Vec<Case> = vec![
        (
            "replayed",
            vec![replayed.clone(), replayed],
            401,
            Some(1),
            Valid,
            "signature-replayed",
            Some((Kind::Replayed, None)),
        ),
        (
            "forged",
            vec![Raw::order().forged(&key(1))],
            401,
            Some(1),
            Known,
            "signature-invalid",
            Some((Kind::BadSignature, None)),
        ),
        ("unknown", vec![unknown], 401, None, Open, "signature-invalid", None),
        (
            "revoked",
            vec![Raw::order().signed_by(key(2), NOW)],
            401,
            Some(2),
            Valid,
            "key-revoked",
            Some((Kind::UsedAfterRevocation, None)),
        ),
        (
            "revoked, publishable",
            vec![reader(2)],
            401,
            Some(2),
            Known,
            "key-unknown",
            Some((Kind::UsedAfterRevocation, None)),
        ),
        (
            "expired",
            vec![Raw::order().signed_by(key(3), NOW)],
            401,
            Some(3),
            Valid,
            "key-expired",
            Some((Kind::UsedAfterExpiry, None)),
        ),
        (
            "expired, publishable",
            vec![reader(3)],
            401,
            Some(3),
            Known,
            "key-unknown",
            Some((Kind::UsedAfterExpiry, None)),
        ),
        (
            "elsewhere",
            vec![outside(Raw::order()).signed_by(key(5), NOW)],
            403,
            Some(5),
            Valid,
            "key-forbidden",
            Some((Kind::RestrictionViolated, Some("ip"))),
        ),
        (
            "elsewhere, publishable",
            vec![outside(reader(5))],
            401,
            Some(5),
            Known,
            "key-unknown",
            Some((Kind::RestrictionViolated, Some("ip"))),
        ),
        (
            "over its limit",
            vec![Raw::order().signed(), Raw::order().signed(), Raw::order().signed()],
            429,
            Some(1),
            Valid,
            "rate-limited",
            None,
        ),
        (
            "a publishable key that writes",
            vec![publishable(Raw::order(), 1)],
            401,
            Some(1),
            Known,
            "signature-required",
            Some((Kind::PublishableWrite, None)),
        ),
        (
            "an unknown publishable key that writes",
            vec![publishable(Raw::order(), 9)],
            401,
            None,
            Open,
            "signature-required",
            None,
        ),
        (
            "changed content",
            vec![Raw::order().signed().body(b"changed")],
            400,
            Some(1),
            Valid,
            "digest-mismatch",
            None,
        ),
        ("nothing shown", vec![Raw::read()], 401, None, Open, "key-required", None),
        (
            "another host",
            vec![Raw::read().set("Host", "x.example")],
            421,
            None,
            Open,
            "misdirected",
            None,
        ),
        (
            "an odd method",
            vec![Raw::read().method("BREW")],
            405,
            None,
            Open,
            "method-not-allowed",
            None,
        ),
    ];
    for (case, requests, status, credential, access, code, event) in cases {
        let desk = UsageDesk::default();
        let usage = Usage::record_to(desk.clone());
        let clock = TestClock::default();
        let gate = Limited::new(Service::nonces(), limited()).clock(clock.monotonic());
        let verifier = verifier(&clock, keys(), gate).usage(usage.clone());
        let app = verifier.protect(routes()).unwrap();
        let mut last = 0;
        for request in &requests {
            last = call(&app, request).await;
        }
        assert_eq!(last, status, "{case}");
        usage.flush().await.unwrap();
        let calls = desk.calls();
        let refused: Vec<_> =
            calls.iter().filter(|(key, _)| key.outcome != CallOutcome::Passed).collect();
        assert_eq!(refused.len(), 1, "{case}: {calls:?}");
        let (key, count) = refused[0];
        assert_eq!(count.calls, 1, "{case}");
        let seen = (key.credential.map(CredentialId::get), key.access, key.status.as_u16());
        assert_eq!(seen, (credential, access, status), "{case}");
        assert_eq!(key.outcome, CallOutcome::Refused(code.parse().unwrap()), "{case}");
        assert_eq!(key.method.as_str() == "OTHER", case == "an odd method", "{case}");
        assert!(count.bytes_out > 100, "{case}");
        let events =
            event.map(|(kind, detail)| (credential.unwrap(), kind, detail.map(str::to_owned), 1));
        assert_eq!(desk.events(), events.into_iter().collect::<Vec<_>>(), "{case}");
        // None of these says where the holder of the key is, but for those that were accepted.
        let places = desk.batches().into_iter().flat_map(|batch| batch.places);
        let own: u64 = places
            .filter(|(key, _)| key.access == CallAccess::Signed)
            .map(|(_, calls)| calls)
            .sum();
        let accepted = match case {
            "replayed" | "changed content" => 1,
            "over its limit" => 2,
            _ => 0,
        };
        assert_eq!(own, accepted, "{case}");
    }
}

#[tokio::test]
async fn what_is_not_checked_counts_as_passed_and_what_is_left_out_is_not_counted() {
    /// Credential, access and bytes read.
    type Seen = (Option<i64>, CallAccess, u64);
    let cases: [(&str, Raw, Option<Seen>, usize); 7] = [
        ("open", Raw::order().target("/v1/open"), Some((None, CallAccess::Open, 15)), 0),
        (
            "off, though signed",
            Raw::order().target("/v1/off").signed(),
            Some((None, CallAccess::Open, 15)),
            0,
        ),
        (
            "observed and signed",
            Raw::order().target("/v1/observed").signed(),
            Some((Some(1), CallAccess::Signed, 15)),
            0,
        ),
        (
            "observed and forged",
            Raw::order().target("/v1/observed").forged(&key(1)),
            Some((Some(1), CallAccess::Publishable, 15)),
            1,
        ),
        (
            "observed and changed",
            Raw::order().target("/v1/observed").signed().body(b"changed"),
            Some((Some(1), CallAccess::Signed, 7)),
            0,
        ),
        ("public", Raw::read().target("/health"), None, 0),
        ("uncounted", Raw::read().target("/v1/ping"), None, 0),
    ];
    for (case, request, counted, events) in cases {
        let desk = UsageDesk::default();
        let usage = Usage::record_to(desk.clone());
        assert_eq!(call(&app(&usage), &request).await, 200, "{case}");
        usage.flush().await.unwrap();
        let Some(counted) = counted else {
            assert!(desk.batches().is_empty(), "{case}");
            continue;
        };
        let (key, count) = desk.only();
        assert_eq!(key.outcome, CallOutcome::Passed, "{case}");
        let credential = key.credential.map(CredentialId::get);
        assert_eq!((credential, key.access, count.bytes_in), counted, "{case}");
        assert_eq!(desk.events().len(), events, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_are_exact_under_load_while_batches_are_flushed() {
    const TASKS: u8 = 16;
    const EACH: u8 = 30;
    let desk = UsageDesk::default();
    // Whoever flushes does so as often as it can.
    let usage = Usage::record_to(desk.clone()).pace(Duration::from_millis(1));
    let clock = TestClock::default();
    let app = verifier(&clock, keys(), Service::nonces()).usage(usage.clone());
    let app = app.protect(routes()).unwrap();
    let service = Service::serve(clock, app, Arc::default()).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let address = service.address;
        tasks.spawn(async move {
            for number in 0..EACH {
                let from = format!("192.0.{task}.{number}");
                let from = |raw: Raw| raw.add("Test-From", &from);
                let order = from(Raw::order().signed());
                assert_eq!(exchange(address, &order.bytes()).await.status, 201);
                assert_eq!(exchange(address, &order.bytes()).await.status, 401);
                let read = from(publishable(Raw::read(), 1));
                assert_eq!(exchange(address, &read.bytes()).await.status, 200);
            }
        });
    }
    tasks.join_all().await;
    drop(service);
    // A connection's task may still hold the last body.
    let all = u64::from(TASKS) * u64::from(EACH);
    while desk.calls().values().map(|count| count.calls).sum::<u64>() < 3 * all {
        usage.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let calls = desk.calls();
    let by_status: BTreeMap<_, _> =
        calls.iter().map(|(key, count)| (key.status.as_u16(), count)).collect();
    assert_eq!(by_status.keys().collect::<Vec<_>>(), [&200, &201, &401]);
    assert!(by_status.values().all(|count| count.calls == all), "{by_status:?}");
    assert_eq!((by_status[&201].bytes_in, by_status[&201].bytes_out), (15 * all, 15 * all));
    assert_eq!(by_status[&200].bytes_out, 6 * all);
    let batches = desk.batches();
    let numbers: Vec<_> = batches.iter().map(|batch| batch.number).collect();
    assert!(numbers.is_sorted() && numbers.iter().zip(1..).all(|(one, other)| *one == other));
    let places = batches.iter().flat_map(|batch| &batch.places);
    let mut by_place: BTreeMap<_, u64> = BTreeMap::new();
    for (key, calls) in places {
        *by_place.entry((key.prefix, key.access)).or_default() += calls;
    }
    // A replay counts beside the reads: whoever captured a request can send it.
    assert_eq!(by_place.len(), 2 * usize::from(TASKS));
    for ((_, access), calls) in by_place {
        let each = if access == CallAccess::Signed { 1 } else { 2 };
        assert_eq!(calls, each * u64::from(EACH));
    }
    let replays: u64 = desk.events().iter().map(|(.., count)| count).sum();
    assert_eq!(replays, all);
}

/// A service whose handlers go on for as long as the test likes.
async fn slow_service(usage: &Usage) -> (Service, mpsc::UnboundedReceiver<()>) {
    let (begins, begun) = mpsc::unbounded_channel();
    let never = begins.clone();
    let routes = Routes::new()
        .route(Route::insecure_open(Method::GET, "/endless"), async move || {
            never.send(()).unwrap();
            std::future::pending::<&str>().await
        })
        .route(Route::insecure_open(Method::GET, "/drops"), async move || {
            begins.send(()).unwrap();
            let pieces = stream::repeat_with(|| Bytes::from_static(&[b'a'; 1000])).take(5);
            let endless = pieces.chain(stream::pending());
            Response::new(Body::from_stream(endless.map(Ok::<_, std::io::Error>)))
        })
        .route(
            Route::signed(Method::PUT, "/echo").streamed(1 << 20),
            async |SignedBy(_): SignedBy, request: AxumRequest| Response::new(request.into_body()),
        );
    let clock = TestClock::default();
    let app = verifier(&clock, keys(), Service::nonces()).usage(usage.clone());
    (Service::serve(clock, app.protect(routes).unwrap(), Arc::default()).await, begun)
}

async fn flush_until(usage: &Usage, desk: &UsageDesk, calls: u64) {
    while desk.calls().values().map(|count| count.calls).sum::<u64>() < calls {
        usage.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_is_counted_with_what_it_got() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let (service, mut begun) = slow_service(&usage).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(&Raw::read().target("/endless").bytes()).await.unwrap();
    begun.recv().await.unwrap();
    drop(stream);
    flush_until(&usage, &desk, 1).await;
    let (key, count) = desk.only();
    assert_eq!(key.outcome, CallOutcome::Passed, "the handler had it");
    assert_eq!((key.status.as_u16(), count.bytes_out), (499, 0));

    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(&Raw::read().target("/drops").bytes()).await.unwrap();
    let mut read = Vec::new();
    while read.iter().filter(|byte| **byte == b'a').count() < 5000 {
        stream.read_buf(&mut read).await.unwrap();
    }
    drop(stream);
    flush_until(&usage, &desk, 2).await;
    let calls = desk.calls();
    let broken_off = calls.iter().find(|(key, _)| key.route == declared("GET /drops")).unwrap();
    assert_eq!(broken_off.0.status, StatusCode::OK);
    assert_eq!(broken_off.1.bytes_out, 5000);
}

#[tokio::test]
async fn content_that_is_streamed_is_counted_as_it_is_read() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let (service, _begun) = slow_service(&usage).await;
    let content = vec![b'x'; 200_000];
    let request = Raw::order().method("PUT").target("/echo").body(&content).signed();
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let request = request.add("Connection", "close").bytes();
    let (mut reader, mut writer) = stream.split();
    let mut response = Vec::new();
    let (sent, received) =
        tokio::join!(writer.write_all(&request), reader.read_to_end(&mut response));
    sent.unwrap();
    received.unwrap();
    flush_until(&usage, &desk, 1).await;
    let (key, count) = desk.only();
    assert_eq!(key.credential, Some(CredentialId::new(1)));
    assert_eq!((count.bytes_in, count.bytes_out), (200_000, 200_000));
}

#[tokio::test]
async fn random_paths_programs_and_addresses_of_a_stranger_make_few_rows() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let app = app(&usage);
    for number in 0..3000_u32 {
        let [.., a, b] = number.to_be_bytes();
        let request = Raw::read()
            .target(&format!("/{number}?{number}"))
            .method(if number % 2 == 0 { "GET" } else { "BREW" })
            .add("User-Agent", format!("bomb/{number}"))
            .add("Test-From", format!("10.{a}.{b}.1"));
        call(&app, &request).await;
    }
    usage.flush().await.unwrap();
    let batch = &desk.batches()[0];
    let others = |batch: &UsageBatch| batch.calls.keys().all(|key| key.route == RouteLabel::Other);
    assert!(others(batch) && batch.calls.len() <= 4, "{:?}", batch.calls);
    assert_eq!(batch.calls.values().map(|count| count.calls).sum::<u64>(), 3000);
    assert_eq!(batch.places.len(), 257);
    assert_eq!(batch.places.values().sum::<u64>(), 3000);
    assert!(batch.clients.len() <= 65, "{}", batch.clients.len());
    assert_eq!(batch.clients.values().sum::<u64>(), 3000);
}
