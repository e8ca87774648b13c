//! Events of a registry, sent to a webhook as signed requests (RFC 9421) and sent again until they are taken; and a key that
//! goes into quarantine by a policy.
//!
//! ```console
//! $ cargo run --example webhook
//! ```
//!
//! In your server, spawn the watch beside `serve`: `tokio::spawn(registry.watch_events(response, webhook, system_time()).run())`.

use std::{
    error::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Json, extract::State, http::StatusCode};
use countersign::{Origins, PrivateKey, ProvenKey, Timestamp, Window};
use countersign_client::Client;
use countersign_server::{Route, Routes, Signed, Verifier, serve};
use countersign_store::{
    AddressPrefix, CallAccess, Credential, EventHandler, EventKind, EventNews, EventResponse,
    MemoryNonces, NewCredential, PlaceKey, Registry, StoreError, UsageBatch, UsageResponse,
    UsageSink, system_time,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long to wait before an event is sent again. After the last attempt the watch looks for more, and hands it over again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// Sends events.
struct Webhook {
    client: Client,
    url: String,
}

impl EventHandler for Webhook {
    async fn handle(&self, news: &EventNews, done: EventResponse) -> Result<(), StoreError> {
        let body = json!({
            "kind": news.event.kind.as_str(),
            "detail": news.event.detail,
            "application": news.event.application,
            "label": news.event.label,
            "key": news.event.key,
            "count": news.event.count.count,
            "verified": news.event.count.verified,
            "last": news.event.count.last.unix(),
            "quarantined": done == EventResponse::Quarantined,
        });
        let mut sent = self.send(&body).await;
        for pause in PAUSES {
            if sent.is_ok() {
                break;
            }
            tokio::time::sleep(pause).await;
            sent = self.send(&body).await;
        }
        sent
    }
}

impl Webhook {
    /// Sends an event once. Each attempt is signed anew, with a nonce of its own.
    async fn send(&self, event: &Value) -> Result<(), StoreError> {
        let request = self.client.post(self.url.as_str()).json(event);
        match request.timeout(Duration::from_secs(10)).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => {
                Err(StoreError::because("the webhook refused", response.status().to_string()))
            }
            Err(error) => Err(StoreError::because("the webhook cannot be called", error)),
        }
    }
}

/// The side that gets events: it is down at first.
async fn receive(
    State(calls): State<Arc<AtomicU32>>,
    Signed(caller, Json(event)): Signed<Json<Value>>,
) -> StatusCode {
    if calls.fetch_add(1, Ordering::Relaxed) == 0 {
        println!("receiver: 503, for the first attempt");
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let sender = &caller.credential().label;
    println!("receiver: from {sender}: {event}");
    StatusCode::NO_CONTENT
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    registry.add_application("alerts", "test", system_time()).await?;
    registry.add_application("shop", "test", system_time()).await?;
    let (sender, _) = add(&registry, "alerts", "watch").await?;
    let (_, laptop) = add(&registry, "shop", "laptop").await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time()).await?;
    let verifier = Verifier::new(Origins::new([origin.parse()?])?, Arc::clone(&registry), nonces);
    let routes = Routes::new()
        .route(Route::signed(Method::POST, "/events"), receive)
        .with_state(Arc::new(AtomicU32::new(0)));
    tokio::spawn(serve(listener, verifier.protect(routes)?, std::future::pending()));

    // Whoever finds a key in two new networks within a day is told, and the key only reads from then on.
    let day = Duration::from_secs(24 * 60 * 60);
    let response =
        UsageResponse::notify().quarantine_after(EventKind::FirstNetwork, 2.try_into()?, day);
    let webhook = Webhook { client: Client::new(sender)?, url: format!("{origin}/events") };
    let mut watch = registry.watch_events(response, webhook, system_time());

    // A server that counts usage saves this, from the requests that it gets.
    for (number, network) in (1..).zip(["198.51.100.7", "203.0.113.9", "192.0.2.80"]) {
        registry.save(&signed_from(network, &laptop, number)?, system_time()).await?;
        watch.look(system_time()).await?;
    }
    let state = registry.credential(&laptop.publishable_key().into()).await?.state;
    println!("the key of the laptop is {state}");
    Ok(())
}

async fn add(
    registry: &Registry,
    application: &str,
    label: &str,
) -> Result<(PrivateKey, Arc<Credential>), Box<dyn Error>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let key = PrivateKey::ed25519(&seed);
    let proven = ProvenKey::from(&key);
    let new = NewCredential::new(application, label, &proven);
    Ok((key, registry.add_credential(new, system_time()).await?))
}

/// What a server saves after signed requests from a network.
fn signed_from(
    address: &str,
    credential: &Credential,
    number: u64,
) -> Result<UsageBatch, Box<dyn Error>> {
    let now = system_time().unix();
    let hour = Timestamp::from_unix(now.saturating_sub(now.checked_rem(3600).unwrap_or(0)));
    let place = PlaceKey {
        hour,
        credential: Some(credential.id),
        prefix: Some(AddressPrefix::of(address.parse()?)),
        access: CallAccess::Signed,
    };
    let mut batch = UsageBatch::new(1, number);
    batch.places.insert(place, 1);
    Ok(batch)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
