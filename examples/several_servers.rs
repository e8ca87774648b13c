//! Two servers behind one name, with their registry in PostgreSQL, and their replay guard and limits in Redis: a signed request
//! is handled once, by whichever server; limits are for both together; and a key that is revoked at one is refused by the other.
//!
//! ```console
//! $ cargo run --features shared --example several_servers
//! $ cargo run --features shared --example several_servers -- postgres://ana@localhost/keys redis://127.0.0.1:6379
//! ```
//!
//! Without URLs it starts a PostgreSQL and a `redis-server` of its own, and shows what becomes of requests when Redis is stopped.

use std::{
    env,
    error::Error,
    net::SocketAddr,
    num::NonZeroU32,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::get};
use countersign::{KeyId, Origins, Policy, PrivateKey, ProvenKey, PublishableKey, Window};
use countersign_client::{Client, Refusal};
use countersign_server::{Publishable, Signed, Verifier, serve};
use countersign_store::{Limits, NewCredential, Quota, Redis, RedisGate, Registry, system_time};
use reqwest::{Method, Request, Response, header::HOST};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

use self::postgres::Postgres;

/// A PostgreSQL of one's own, as the tests of this project have it.
#[expect(clippy::unwrap_used, unreachable_pub, dead_code, reason = "it is for tests")]
#[path = "../tests/harness/postgres.rs"]
mod postgres;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What clients call both servers. A load balancer would be there.
const NAME: &str = "shop.example";
const SERVERS: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// What a key may write in a minute, at both together.
const WRITES: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// Far longer than another server takes to learn of a revocation.
const PATIENCE: Duration = Duration::from_secs(20);
const READS: NonZeroU32 = NonZeroU32::new(600).unwrap();

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args().skip(1).collect()).await {
        Ok(Verdict::AsExpected) => ExitCode::SUCCESS,
        Ok(Verdict::Otherwise) => {
            eprintln!("error: something came back that should not have");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            eprintln!(
                "hint: install postgresql and redis-server, or name both: several_servers postgres://user@host/database redis://host"
            );
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AsExpected,
    Otherwise,
}

async fn run(urls: Vec<String>) -> Outcome<Verdict> {
    match urls.as_slice() {
        [] => {
            let (postgres, redis) = (Postgres::start(), OwnRedis::start().await?);
            let (db, url) = (postgres.url(), redis.url());
            println!("PostgreSQL and Redis, which this example started: {db} and {url}");
            demonstrate(&db, &url, Some(redis)).await
        }
        [db, url] => demonstrate(db, url, None).await,
        _ => Err("this takes no URL, or two".into()),
    }
}

async fn demonstrate(db: &str, url: &str, own: Option<OwnRedis>) -> Outcome<Verdict> {
    // The clocks are those of one machine, so that little has to be allowed for them.
    let policy = Policy::default().window(Duration::from_secs(60), Duration::from_secs(1))?;
    let redis = Redis::single(url)?.clock_error(Duration::from_secs(1)).guard(&unique_name()?)?;

    // Each server opens the registry for itself, as a process of its own would.
    let registries = [Registry::open_or_create(db).await?, Registry::open(db).await?];
    let [registry, elsewhere] = &registries;
    let first = start_server(registry.clone(), redis.clone(), policy.clone()).await?;
    let second = start_server(elsewhere.clone(), redis, policy).await?;
    println!("Two servers at {first} and {second}, both for http://{NAME}\n");

    let application = unique_name()?;
    registry.add_application(application.as_str(), "test", system_time()).await?;
    let callers = [
        Caller::new(registry, &application, "by day").await?,
        Caller::new(registry, &application, "by night").await?,
    ];
    let mut table = Table(Verdict::AsExpected);
    show(&callers, [first, second], registry, own, &mut table).await?;
    for caller in &callers {
        registry.revoke(&KeyId::Publishable(caller.key), None, system_time()).await?;
    }
    registry.remove_application(&application, system_time()).await?;
    Ok(table.0)
}

/// A server whose replay guard and limits are those of all servers that have the same guard.
async fn start_server(registry: Registry, redis: Redis, policy: Policy) -> Outcome<SocketAddr> {
    let limits = Limits::default()
        .signed([Quota::per_minute(WRITES)])
        .unsigned_by_address([Quota::per_minute(READS)]);
    let window = Window::from(&policy);
    let gate = RedisGate::connect(redis, window, limits, SERVERS, system_time()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let origins = Origins::new([format!("http://{NAME}").parse()?])?;
    let verifier = Verifier::new(origins, registry, gate).policy(policy);
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

/// Sends what clients and attackers send, and prints a line for each.
async fn show(
    [caller, other]: &[Caller; 2],
    [first, second]: [SocketAddr; 2],
    registry: &Registry,
    own: Option<OwnRedis>,
    table: &mut Table,
) -> Outcome<()> {
    let (first, second) = (Server("first", first), Server("second", second));
    let response = first.send(caller.write()?).await?;
    let wait = retry_after(&response)?;
    table.line("a signed write", first, response, "401 signature-stale").await;
    println!(
        "  this guard is new to Redis, which may have lost another: again in {} s",
        wait.as_secs()
    );
    sleep(wait).await;

    let signed = caller.write()?;
    table.line("a signed write", first, first.send(copy(&signed)?).await?, "201").await;
    let response = second.send(signed).await?;
    table.line("the same bytes again", second, response, "401 signature-replayed").await;
    table.line("a signed write", second, second.send(caller.write()?).await?, "201").await;
    // Two a minute are allowed. What was refused above was charged to nobody.
    let limited = "429 rate-limited";
    table.line("one more", first, first.send(caller.write()?).await?, limited).await;
    table.line("one more", second, second.send(caller.write()?).await?, limited).await;
    table
        .line("a read with the publishable key", first, first.send(caller.read()?).await?, "200")
        .await;

    let revoked = Instant::now();
    registry.revoke(&KeyId::Publishable(caller.key), None, system_time()).await?;
    println!("\nThe key is revoked at the first\n");
    let refused = "401 key-unknown";
    table
        .line("a read with its publishable key", first, first.send(caller.read()?).await?, refused)
        .await;
    while second.send(caller.read()?).await?.status() == StatusCode::OK {
        if revoked.elapsed() > PATIENCE {
            return Err("the second server goes on accepting a key that is revoked".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    let response = second.send(caller.read()?).await?;
    table.line("a read with its publishable key", second, response, refused).await;
    println!("  {:.1} s later", revoked.elapsed().as_secs_f64());

    let Some(own) = own else { return Ok(()) };
    drop(own);
    println!("\nRedis is stopped\n");
    for server in [first, second] {
        let response = server.send(other.write()?).await?;
        table.line("a signed write", server, response, "503 replay-store-unavailable").await;
        let response = server.send(other.read()?).await?;
        table.line("a read with the publishable key", server, response, "200").await;
    }
    Ok(())
}

/// An application's key, and the client that signs with it.
struct Caller {
    key: PublishableKey,
    client: Client,
}

impl Caller {
    async fn new(registry: &Registry, application: &str, label: &str) -> Outcome<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let key = PrivateKey::ed25519(&seed);
        let proven = ProvenKey::from_proof(&ProvenKey::proof(&key)?)?;
        let new = NewCredential::new(application, label, &proven);
        registry.add_credential(new, system_time()).await?;
        Ok(Self { key: key.publishable_key(), client: Client::new(key)? })
    }

    fn write(&self) -> Outcome<Request> {
        let url = format!("http://{NAME}/v1/orders");
        Ok(self.client.post(url).json(&json!({ "item": "book" })).sign()?)
    }

    fn read(&self) -> Outcome<Request> {
        let mut request = Request::new(Method::GET, format!("http://{NAME}/v1/orders").parse()?);
        request.headers_mut().insert("x-api-key", self.key.to_string().parse()?);
        Ok(request)
    }
}

/// One of the two, and what it is called here.
#[derive(Clone, Copy)]
struct Server(&'static str, SocketAddr);

impl Server {
    /// Sends it there, as a load balancer would.
    async fn send(self, mut request: Request) -> Outcome<Response> {
        let Self(_, address) = self;
        request.headers_mut().insert(HOST, NAME.parse()?);
        let there = format!("http://{address}{}", request.url().path());
        *request.url_mut() = there.parse()?;
        Ok(reqwest::Client::new().execute(request).await?)
    }
}

struct Table(Verdict);

impl Table {
    async fn line(&mut self, what: &str, to: Server, response: Response, expected: &str) {
        let status = response.status().as_u16();
        let came = match Refusal::check(response).await {
            Ok(_) => status.to_string(),
            Err(refusal) => format!("{status} {}", refusal.code),
        };
        let note = if came == expected { String::new() } else { format!("  expected: {expected}") };
        if came != expected {
            self.0 = Verdict::Otherwise;
        }
        println!("{what:<32} to the {:<7}  →  {came}{note}", to.0);
    }
}

fn retry_after(response: &Response) -> Outcome<Duration> {
    let seconds = response.headers().get("retry-after").ok_or("no Retry-After")?;
    Ok(Duration::from_secs(seconds.to_str()?.parse()?))
}

fn copy(request: &Request) -> Outcome<Request> {
    Ok(request.try_clone().ok_or("the content cannot be sent twice")?)
}

/// A name of our own, so that nothing of another's is touched.
fn unique_name() -> Outcome<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    Ok(format!("example-{:x}", u64::from_be_bytes(random)))
}

/// A Redis that ends with this value.
struct OwnRedis {
    process: Child,
    port: u16,
}

impl OwnRedis {
    async fn start() -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &env::temp_dir().display().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server cannot be started: {error}"))?;
        let own = Self { process, port };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(own);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("redis-server does not reply".into())
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.dedup();
    texts.join(": ")
}
