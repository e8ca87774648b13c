//! Uploads that are written to disk as they come, and count only once all of them is known to be what was signed.
//!
//! ```console
//! $ cargo run --example streaming_upload
//! ```

use std::{
    error::Error,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{Path as PathParameter, State},
    http::StatusCode,
};
use countersign::{Origins, PrivateKey, ProvenKey, Window};
use countersign_client::Client;
use countersign_server::{Route, Routes, Signed, Verifier, serve};
use countersign_store::{MemoryNonces, NewCredential, Registry, Scope, system_time};
use http_body_util::BodyExt as _;
use reqwest::{Method, Request};
use tokio::net::TcpListener;

const UPLOAD: Scope = Scope::from_static("files:write");
/// The most that one upload may have, in bytes.
const LIMIT: u64 = 1 << 30;

/// Writes what comes beside where it is to be, and moves it there when its end is known to be good. On any error the part
/// is gone with its file.
async fn upload(
    State(folder): State<Arc<PathBuf>>,
    PathParameter(name): PathParameter<String>,
    Signed(caller, body): Signed<Body>,
) -> (StatusCode, String) {
    match store(&folder, &name, body).await {
        Ok(length) => {
            let who = &caller.credential().label;
            (StatusCode::CREATED, format!("{length} bytes of {who} are stored"))
        }
        // What the caller gets for content that is not what was signed is the verifier's to say.
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

async fn store(folder: &Path, name: &str, mut body: Body) -> Result<usize, Box<dyn Error>> {
    // The name comes from the path, of which the verifier refuses dot segments and slashes.
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            part.write_all(&piece)?;
            length = length.saturating_add(piece.len());
        }
    }
    part.persist(folder.join(name))?;
    Ok(length)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let key = PrivateKey::ed25519(&seed);
    registry.add_application("backup", "test", system_time()).await?;
    let proven = ProvenKey::from(&key);
    let credential = NewCredential::new("backup", "nightly", &proven).scopes([UPLOAD].into());
    registry.add_credential(credential, system_time()).await?;

    let files = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time()).await?;
    let verifier = Verifier::new(Origins::new([origin.parse()?])?, registry, nonces);
    let routes = Routes::new()
        .route(Route::signed(Method::PUT, "/files/{name}").scope(UPLOAD).streamed(LIMIT), upload)
        .with_state(Arc::new(files.path().to_owned()));
    print!("{}", routes.table()?);
    tokio::spawn(serve(listener, verifier.protect(routes)?, std::future::pending()));

    let client = Client::new(key)?;
    let content = vec![b'a'; 32 << 20];
    let url = format!("{origin}/files/night.tar");
    let signed = client.put(url.as_str()).body(content.clone()).sign()?;
    say("an upload", send(signed).await?, files.path());

    let mut changed =
        client.put(format!("{origin}/files/day.tar").as_str()).body(content).sign()?;
    let mut other = vec![b'a'; 32 << 20];
    if let Some(last) = other.last_mut() {
        *last = b'b';
    }
    *changed.body_mut() = Some(other.into());
    say("with its last byte changed", send(changed).await?, files.path());
    Ok(())
}

/// Sends a request as it is, and returns the status and the content of its response.
async fn send(request: Request) -> Result<(u16, String), reqwest::Error> {
    let response = reqwest::Client::new().execute(request).await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let problem: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let code = problem.as_ref().and_then(|problem| problem["code"].as_str().map(str::to_owned));
    Ok((status, code.unwrap_or(text)))
}

fn say(what: &str, (status, told): (u16, String), folder: &Path) {
    let stored = std::fs::read_dir(folder).map_or(0, Iterator::count);
    println!("{what:<27} →  {status} {told}; {stored} file in the folder");
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: it needs a free port of 127.0.0.1 and a folder for temporary files");
            ExitCode::FAILURE
        }
    }
}
