//! The main job in one run: a server with its registry, a key pair, and what becomes of honest and dishonest requests.
//!
//! ```console
//! $ cargo run --release --example quickstart
//! $ cargo run --release --example quickstart -- --serve
//! ```
//!
//! With `--serve` it stays up afterwards, and prints commands to try on it.

use std::{
    env, error::Error, fs, net::SocketAddr, path::Path, process::ExitCode, sync::Arc,
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::get};
use countersign::{KeyId, Origins, PrivateKey, ProvenKey, Window};
use countersign_client::{Client, PublishableClient, Refusal};
use countersign_server::{
    Publishable, Route, RouteTable, Signed, Usage, Verifier, serve, until_signal,
};
use countersign_store::{MemoryNonces, NewCredential, Registry, system_time};
use reqwest::{Body, Method, Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let serve = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Serve::No,
        ["--serve"] => Serve::Yes,
        _ => {
            eprintln!("error: the only argument there is is --serve");
            eprintln!("hint: cargo run --release --example quickstart -- --serve");
            return ExitCode::FAILURE;
        }
    };
    match run(serve).await {
        Ok(Verdict::AsExpected) => ExitCode::SUCCESS,
        Ok(Verdict::Otherwise) => {
            eprintln!("error: something came back that should not have");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: this needs a free port on 127.0.0.1 and a folder for temporary files");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Serve {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AsExpected,
    Otherwise,
}

async fn run(serve: Serve) -> Outcome<Verdict> {
    let folder = tempfile::tempdir()?;
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    if serve == Serve::Yes {
        // What is told in it is of use to those who try commands: why something was refused, and what to change.
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    let address = start_server(Arc::clone(&registry)).await?;
    println!("A server at http://{address}, with its registry in {db}");

    let verdict = show(&registry, address).await?;
    if serve == Serve::Yes {
        let key_file = folder.path().join("shop.key");
        stay(&registry, address, &db, &key_file).await?;
    }
    Ok(verdict)
}

async fn start_server(registry: Arc<Registry>) -> Outcome<SocketAddr> {
    let now = system_time();
    let nonces = MemoryNonces::durable(Window::default(), Arc::clone(&registry), now).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let origins = Origins::new([format!("http://{address}").parse()?])?;
    let declared =
        RouteTable::new([Route::read("/v1/orders"), Route::signed(Method::POST, "/v1/orders")])?;
    let verifier = Verifier::new(origins, Arc::clone(&registry), nonces)
        .routes(declared)
        .usage(Usage::record_to(registry));
    let app = Router::new().route("/v1/orders", get(list).post(add)).layer(verifier.layer());
    tokio::spawn(serve(listener, app, std::future::pending()));
    Ok(address)
}

async fn list(Publishable(caller): Publishable) -> Json<Value> {
    Json(json!({ "application": caller.application().name.as_str(), "orders": [] }))
}

async fn add(Signed(caller, Json(order)): Signed<Json<Value>>) -> (StatusCode, Json<Value>) {
    let content = json!({ "signed_by": caller.credential().label.as_str(), "order": order });
    (StatusCode::CREATED, Json(content))
}

/// Does what clients and attackers do, and prints a line for each.
async fn show(registry: &Registry, address: SocketAddr) -> Outcome<Verdict> {
    let key = new_key()?;
    let publishable = key.publishable_key();
    registry.add_application("shop", "test", system_time()).await?;
    registry
        .add_credential(NewCredential::new("shop", "quickstart", &prove(&key)?), system_time())
        .await?;
    println!("The application \"shop\", with the key {publishable}\n");

    let url = format!("http://{address}/v1/orders");
    let order = json!({ "item": "book" });
    let reader = PublishableClient::new(publishable)?;
    let client = Client::new(key)?;
    // What an attacker has: a client that sends whatever it is given.
    let wire = reqwest::Client::new();
    let mut table = Table(Verdict::AsExpected);

    let response = reader.get(&url).send().await?;
    table.line("a read with the publishable key", response, "200").await;

    let signed = client.post(&url).json(&order).sign()?;
    let response = wire.execute(copy(&signed)?).await?;
    table.line("a signed write", response, "201").await;

    let response = wire.execute(copy(&signed)?).await?;
    table.line("the same bytes again", response, "401 signature-replayed").await;

    let mut changed = client.post(&url).json(&order).sign()?;
    *changed.body_mut() = Some(Body::from(order.to_string().replace("book", "boot")));
    let response = wire.execute(changed).await?;
    table.line("one byte of the body changed", response, "400 digest-mismatch").await;

    let mut moved = client.post(&url).json(&order).sign()?;
    moved.url_mut().set_path("/v1/refunds");
    let response = wire.execute(moved).await?;
    table.line("the path changed", response, "401 signature-invalid").await;

    let response = wire.post(&url).header("x-api-key", publishable.to_string()).json(&order);
    table.line("an unsigned write", response.send().await?, "401 signature-required").await;

    let an_hour_ago = client.clone().clock(|| system_time().minus(Duration::from_secs(3600)));
    let stale = an_hour_ago.post(&url).json(&order).sign()?;
    let response = wire.execute(stale).await?;
    table.line("a write signed an hour ago", response, "401 signature-stale").await;

    registry.revoke(&KeyId::Publishable(publishable), None, system_time()).await?;
    let response = client.post(&url).json(&order).send().await?;
    table.line("a signed write after revocation", response, "401 key-revoked").await;

    let Table(verdict) = table;
    Ok(verdict)
}

struct Table(Verdict);

impl Table {
    async fn line(&mut self, what: &str, response: Response, expected: &str) {
        let (method, path) = match what.contains("read") {
            true => ("GET ", response.url().path().to_owned()),
            false => ("POST", response.url().path().to_owned()),
        };
        let status = response.status().as_u16();
        let came = match Refusal::check(response).await {
            Ok(_) => status.to_string(),
            Err(refusal) => format!("{status} {}", refusal.code),
        };
        let note = if came == expected { String::new() } else { format!("  expected: {expected}") };
        if came != expected {
            self.0 = Verdict::Otherwise;
        }
        println!("{what:<32} {method} {path:<11}  →  {came}{note}");
    }
}

/// Registers one more key, prints what to do with it, and waits.
async fn stay(registry: &Registry, address: SocketAddr, db: &str, key_file: &Path) -> Outcome<()> {
    let stopped = until_signal()?;
    let key = new_key()?;
    registry
        .add_credential(NewCredential::new("shop", "to try", &prove(&key)?), system_time())
        .await?;
    write_secret(key_file, key.expose_pkcs8_pem()?.as_bytes())?;
    let (publishable, key_file) = (key.publishable_key(), key_file.display());
    println!(
        "
The server stays up at http://{address}. Call it from another terminal, in this folder.

\"shop\" has a second key pair for you:

  publishable key   {publishable}
  private key       {key_file}

Read the orders. The publishable key is enough for that, and anyone may know it:

  curl -H 'X-Api-Key: {publishable}' http://{address}/v1/orders

Try to add an order with it. The server refuses that, and says why:

  curl -H 'X-Api-Key: {publishable}' --json '{{\"item\":\"book\"}}' http://{address}/v1/orders

Add an order. The private key has to sign that; install the command which does so, then call the server by it:

  cargo install --path crates/countersign-cli
  countersign curl --key {key_file} --json '{{\"item\":\"book\"}}' http://{address}/v1/orders

Make a key pair of your own, and register it for \"shop\". From then on my.key signs as well:

  countersign keygen --out my.key
  countersign key add --app shop --public-key my.key.pub --db {db}

See who called what, from where, and what looks like a stolen key. The server saves that every 5 s:

  countersign usage --db {db}
  countersign usage plot --out calls.svg --db {db}
  countersign events list --db {db}

This server serves no other machine, and only under http://{address}. The log follows below. Ctrl-C stops the server, and
deletes its registry and its keys."
    );
    stopped.await;
    Ok(())
}

fn new_key() -> Outcome<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(PrivateKey::ed25519(&seed))
}

/// What the holder of a key sends to whoever registers it: the public half, and a proof of having the other.
fn prove(key: &PrivateKey) -> Outcome<ProvenKey> {
    Ok(ProvenKey::from_proof(&ProvenKey::proof(key)?)?)
}

fn write_secret(file: &Path, content: &[u8]) -> Outcome<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(std::io::Write::write_all(&mut options.open(file)?, content)?)
}

fn copy(request: &Request) -> Outcome<Request> {
    Ok(request.try_clone().ok_or("the content cannot be sent twice")?)
}
