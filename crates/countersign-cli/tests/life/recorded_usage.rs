//! A registry in which servers recorded the usage of a shop: what follows is of the last hours.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use countersign::{Code, KeyId, Timestamp};
use countersign_store::{
    AddressPrefix, CallAccess, CallCount, CallKey, CallOutcome, ClientKey, CredentialId,
    EventCount, EventKey, EventKind, PlaceKey, Platform, RegistryOptions, RouteLabel, UsageBatch,
    UsageSink,
};
use http::{Method, StatusCode};

const HOUR: Duration = Duration::from_secs(3600);

/// Makes `registry.db` in a folder.
pub(crate) fn save_in(folder: &Path) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.current_dir(folder).env("COUNTERSIGN_DB", "sqlite:registry.db").args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let public = |name: &str| format!("{}/tests/life/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    let add = |application: &str, key: &str, label: &str, more: &[&str]| {
        let file = public(key);
        let add = ["key", "add", "--app", application, "--public-key", &file, "--label", label];
        run(&[add.as_slice(), more].concat())
    };
    run(&["app", "add", "shop"]);
    run(&["app", "add", "web"]);
    let scopes = ["--scope", "orders:write", "--scope", "refunds:write"];
    let laptop =
        add("shop", "laptop", "laptop", &[&scopes[..], &["--limit-signed", "600/1m"]].concat());
    let pages = add("web", "laptop-2", "pages", &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", folder.join("registry.db").display());
        let registry = RegistryOptions::new().open(&url).await.unwrap();
        let mut ids = Vec::new();
        for key in [laptop, pages] {
            let id: KeyId = key.parse().unwrap();
            ids.push(registry.credential(&id).await.unwrap().id);
        }
        let (first, second) = batches(ids[0], ids[1]);
        let now = now();
        registry.save(&first, now).await.unwrap();
        registry.save(&second, now).await.unwrap();
        registry.close().await;
    });
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix(since.as_secs())
}

/// What two flushes saved.
fn batches(laptop: CredentialId, pages: CredentialId) -> (UsageBatch, UsageBatch) {
    let whole = |time: Timestamp, unit: u64| Timestamp::from_unix(time.unix() / unit * unit);
    // Minutes that are surely within the last 24 hours, also if the test is slow.
    let [early, late] = [5, 2].map(|hours| whole(now().minus(HOUR * hours), 60));
    let (laptop, pages) = (Some(laptop), Some(pages));
    let (orders, order) = ("GET /v1/orders", "POST /v1/orders");
    let mut first = UsageBatch::new(1, 1);
    let mut second = UsageBatch::new(1, 2);
    let signed = CallAccess::Signed;
    call(&mut first, early, laptop, signed, orders, None, 400);
    call(&mut first, early, laptop, signed, order, None, 90);
    call(&mut second, late, laptop, signed, order, None, 30);
    let publishable = CallAccess::Publishable;
    call(&mut first, early, pages, publishable, orders, None, 250);
    call(&mut second, late, pages, publishable, orders, None, 350);
    call(&mut second, late, pages, publishable, order, Some(Code::SignatureRequired), 5);
    call(&mut second, late, laptop, publishable, order, Some(Code::SignatureReplayed), 3);
    call(&mut second, late, None, CallAccess::Open, "", Some(Code::SignatureRequired), 25);
    let place = |batch: &mut UsageBatch, time, credential, access, address: &str, calls| {
        let prefix = Some(AddressPrefix::of(address.parse().unwrap()));
        let key = PlaceKey { hour: whole(time, 3600), credential, prefix, access };
        batch.places.insert(key, calls);
    };
    place(&mut first, early, laptop, signed, "198.51.100.7", 490);
    place(&mut second, late, laptop, signed, "203.0.113.9", 30);
    place(&mut second, late, laptop, publishable, "203.0.113.9", 3);
    place(&mut first, early, pages, publishable, "2001:db8:5::1", 250);
    place(&mut second, late, pages, publishable, "2001:db8:5::1", 355);
    place(&mut second, late, None, CallAccess::Open, "192.0.2.80", 25);
    let client =
        |batch: &mut UsageBatch, time, credential, access, platform, product: &str, calls| {
            let product = (!product.is_empty()).then(|| product.into());
            let key = ClientKey { hour: whole(time, 3600), credential, platform, product, access };
            batch.clients.insert(key, calls);
        };
    client(&mut first, early, laptop, signed, Platform::Server, "countersign-client", 490);
    client(&mut second, late, laptop, signed, Platform::Server, "countersign-client", 33);
    client(&mut first, early, pages, publishable, Platform::Browser, "Firefox", 250);
    client(&mut second, late, pages, publishable, Platform::Ios, "Mobile Safari", 355);
    client(&mut second, late, None, CallAccess::Open, Platform::Other, "", 25);
    let mut event = |credential: Option<CredentialId>, kind, count| {
        let key = EventKey { credential: credential.unwrap(), kind, detail: None };
        let count = EventCount { first: late, last: late, count, verified: 0 };
        second.events.insert(key, count);
    };
    event(laptop, EventKind::Replayed, 3);
    event(pages, EventKind::PublishableWrite, 5);
    (first, second)
}

fn call(
    batch: &mut UsageBatch,
    minute: Timestamp,
    credential: Option<CredentialId>,
    access: CallAccess,
    route: &str,
    refused: Option<Code>,
    calls: u64,
) {
    let method = if route.starts_with("GET") { Method::GET } else { Method::POST };
    let key = CallKey {
        minute,
        credential,
        route: match route {
            "" => RouteLabel::Other,
            route => RouteLabel::Declared(route.into()),
        },
        method,
        access,
        outcome: refused.map_or(CallOutcome::Passed, CallOutcome::Refused),
        status: if refused.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK },
    };
    let mut count = CallCount::default();
    (0..calls).for_each(|_| count.add(Duration::from_millis(4), 200, 1500));
    batch.calls.insert(key, count);
}
