//! The API of `axum_server` without axum: a function from request to response, as any `tower::Service` is, behind the verifier.
//!
//! ```console
//! $ cargo run --example hyper_server -- 127.0.0.1:8080 sqlite:countersign.db
//! $ cargo run --example hyper_server -- 0.0.0.0:8080 sqlite:countersign.db http://shop.example:8080
//! ```

use std::{convert::Infallible, env, error::Error, net::SocketAddr, process::ExitCode};

use bytes::Bytes;
use countersign::{Origin, Origins, Window};
use countersign_server::{
    Caller, SavedNonces, ServedBody, SignedCaller, VerifiedBody, Verifier, serve,
};
use countersign_store::Registry;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{Layer as _, service_fn};

type JsonResponse = Response<Full<Bytes>>;

/// Runs for whoever shows a publishable key, or signs.
fn list(caller: &Caller) -> JsonResponse {
    let content = json!({ "application": caller.application().name.as_str(), "orders": [] });
    json_response(StatusCode::OK, &content)
}

/// Runs once for each request that the private key signed, with the content that was signed.
fn add(caller: &SignedCaller, order: &Value) -> JsonResponse {
    let content = json!({ "signed_by": caller.credential().label.as_str(), "order": order });
    json_response(StatusCode::CREATED, &content)
}

/// `of` makes the response for a caller that is not known well enough: a write needs a signed caller.
async fn route(request: Request<VerifiedBody<ServedBody>>) -> Result<JsonResponse, JsonResponse> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => Ok(Response::new(Full::from("well\n"))),
        (&Method::GET, "/v1/orders") => Ok(list(&Caller::of(&request)?)),
        (&Method::POST, "/v1/orders") => {
            let caller = SignedCaller::of(&request)?;
            let content = request.into_body().collect().await.map_err(|_| bad_request())?;
            let order = serde_json::from_slice(&content.to_bytes()).map_err(|_| bad_request())?;
            Ok(add(&caller, &order))
        }
        _ => {
            Err(json_response(StatusCode::NOT_FOUND, &json!({ "detail": "there is nothing here" })))
        }
    }
}

fn bad_request() -> JsonResponse {
    json_response(StatusCode::BAD_REQUEST, &json!({ "detail": "the content is not JSON" }))
}

fn json_response(status: StatusCode, content: &Value) -> JsonResponse {
    let mut response = Response::new(Full::from(content.to_string()));
    *response.status_mut() = status;
    response
}

async fn run(address: &str, db: &str, mut origins: Vec<Origin>) -> Result<(), Box<dyn Error>> {
    // Before the guard is resumed: a start that finds its port in use takes nothing away from the server that has it.
    let listener = TcpListener::bind(address).await?;
    let here = format!("http://{}", listener.local_addr()?);
    if origins.is_empty() {
        origins.push(here.parse()?);
    }
    let origins = Origins::new(origins)?;
    let registry = std::sync::Arc::new(Registry::open_or_create(db).await?);
    let saved =
        registry.file().map_or("nonces".into(), |file| format!("{}-nonces", file.display()));
    let nonces = SavedNonces::resume(Window::default(), registry.clone(), saved).await?;
    let verifier = Verifier::new(origins, registry, nonces.clone()).public_path("/health");

    let service = service_fn(async |request| {
        Ok::<_, Infallible>(route(request).await.unwrap_or_else(|refusal| refusal))
    });
    println!("{here}");
    serve(listener, verifier.layer().layer(service), nonces.until_signal()).await?;
    Ok(())
}

/// The origins that are named behind the registry. An address that stands for all addresses of a machine is in no URL.
fn origins(
    address: &str,
    named: impl Iterator<Item = String>,
) -> Result<Vec<Origin>, Box<dyn Error>> {
    let origins: Vec<Origin> = named.map(|origin| origin.parse()).collect::<Result<_, _>>()?;
    let everywhere = address.parse().is_ok_and(|at: SocketAddr| at.ip().is_unspecified());
    if everywhere && origins.is_empty() {
        return Err("no origin is named, and callers use another host than this address".into());
    }
    Ok(origins)
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let db = arguments.next().unwrap_or("sqlite:countersign.db".into());
    let outcome = match origins(&address, arguments) {
        Ok(origins) => run(&address, &db, origins).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!(
                "hint: name a free address, a registry, and the origins that callers use: hyper_server ADDRESS sqlite:FILE [ORIGIN]..."
            );
            ExitCode::FAILURE
        }
    }
}
