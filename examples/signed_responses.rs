//! Answers that are signed: a service and its client in one process, and between them somebody who changes what passes.
//!
//! ```console
//! $ cargo run --example signed_responses
//! ```

use std::{
    mem::take,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use countersign::{KEY_DIRECTORY_PATH, Origin, Origins, PrivateKey, ResponseSigner, Window};
use countersign_client::{Client, Error};
use countersign_server::{Ingress, SignResponses, Signed, Verifier, serve};
use countersign_store::{
    Application, Credential, CredentialId, MemoryKeys, MemoryNonces, system_time,
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;

async fn add(Signed(_, Json(order)): Signed<Json<Value>>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "order": order, "total": 12 })))
}

fn random_key() -> Result<PrivateKey, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(PrivateKey::ed25519(&seed))
}

/// The service, for requests that mean this origin.
fn service(origin: Origin, caller: &PrivateKey) -> Result<Router, Failure> {
    let keys = MemoryKeys::default();
    let now = system_time();
    let shop = Application::new("shop".parse()?, "test".parse()?, now);
    keys.insert(
        Credential::new(CredentialId::new(1), shop, caller.verifying_key(), now)
            .with_label("laptop".parse()?),
    )?;
    // The key is as old as this process: there is nothing from before it that could be repeated.
    let started = now.minus(std::time::Duration::from_secs(3600));
    let nonces = MemoryNonces::volatile(Window::default(), started)?;

    let ingress = Ingress::from(Origins::new([origin])?);
    // Keys of its own: whoever has them speaks for the service. The next one is in the directory before it is used.
    let (key, next) = (random_key()?, random_key()?);
    let signing = SignResponses::new(ingress.clone(), ResponseSigner::new(key)?);
    Ok(Router::new()
        .route("/v1/orders", post(add))
        .layer(Verifier::new(ingress, keys, nonces).layer())
        .route_service(KEY_DIRECTORY_PATH, signing.directory([next.verifying_key()])?)
        .layer(signing))
}

/// What is done to the next response.
#[derive(Clone, Copy, Default)]
enum Meddling {
    #[default]
    None,
    ChangeContent,
    ResponseAsBefore,
    RemoveSignature,
}

/// Somebody between client and service, who sees and changes everything.
#[derive(Clone)]
struct Between {
    service: String,
    meddling: Arc<Mutex<Meddling>>,
    /// The last response, as the service gave it.
    kept: Arc<Mutex<Option<Kept>>>,
}

type Kept = (axum::http::response::Parts, Bytes);

impl Between {
    fn meddle(&self, how: Meddling) {
        *self.meddling.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    async fn pass(&self, request: Request) -> Result<Response, Failure> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = format!("{}{target}", self.service).parse()?;
        let content = body.collect().await?.to_bytes();
        let request = axum::http::Request::from_parts(head, content);
        let response = reqwest::Client::new().execute(request.try_into()?).await?;
        let (head, body) = axum::http::Response::from(response).into_parts();
        let came = (head, body.collect().await?.to_bytes());
        let meddling = take(&mut *self.meddling.lock().unwrap_or_else(PoisonError::into_inner));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.replace(came.clone());
        let (mut head, content) = match (meddling, before) {
            (Meddling::ResponseAsBefore, Some(before)) => before,
            _ => came,
        };
        let content = match meddling {
            Meddling::ChangeContent => String::from_utf8_lossy(&content).replace("12", "99").into(),
            _ => content,
        };
        if matches!(meddling, Meddling::RemoveSignature) {
            head.headers.remove("signature");
            head.headers.remove("signature-input");
        }
        Ok(Response::from_parts(head, Body::from(content)))
    }
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    match between.pass(request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Sends an order, and says what becomes of its response.
async fn order(what: &str, client: &Client, url: &str) -> Result<(), Failure> {
    let outcome = match client.post(url).json(&json!({ "item": "book" })).send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            let text = response.text().await?;
            let problem: Option<Value> = serde_json::from_str(&text).ok();
            let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str());
            format!("verified: {status} {}", code.unwrap_or(&text))
        }
        Err(Error::Response { reason, .. }) => format!("refused: {reason}"),
        Err(error) => return Err(error.into()),
    };
    println!("{what:<40} →  {outcome}");
    Ok(())
}

async fn run() -> Result<(), Failure> {
    let behind = TcpListener::bind("127.0.0.1:0").await?;
    let front = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", front.local_addr()?);
    let between = Between {
        service: format!("http://{}", behind.local_addr()?),
        meddling: Arc::default(),
        kept: Arc::default(),
    };
    let caller = random_key()?;
    let app = service(origin.parse()?, &caller)?;
    tokio::spawn(serve(behind, app, std::future::pending()));
    let proxy = Router::new().fallback(pass).with_state(between.clone());
    tokio::spawn(serve(front, proxy, std::future::pending()));

    let url = format!("{origin}/v1/orders");
    let client = Client::new(caller)?;
    // Elsewhere this is by https, or the keys come with the client: whoever gives it others can answer in their name.
    let keys = client.server_keys(&url).await?;
    println!("the service signs with one of {}", keys.to_jwks());
    let client = client.verify_responses(keys);

    for (what, meddling) in [
        ("nobody meddles", Meddling::None),
        ("the content is changed", Meddling::ChangeContent),
        ("the response is that of the request before", Meddling::ResponseAsBefore),
        ("the signature is removed", Meddling::RemoveSignature),
    ] {
        between.meddle(meddling);
        order(what, &client, &url).await?;
    }
    // Refusals are signed as well: this one is the service's own.
    let stranger = Client::new(random_key()?)?.verify_responses(client.server_keys(&url).await?);
    order("a stranger asks", &stranger, &url).await
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: it needs two free ports of 127.0.0.1");
            ExitCode::FAILURE
        }
    }
}
