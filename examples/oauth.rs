//! An API that asks for two things: a signature, which says which application calls, and an access token, which says whom it acts
//! for. The token is covered by the signature, and bound to the key that makes it.
//!
//! ```console
//! $ cargo run --features oauth --example oauth
//! ```
//!
//! The issuer of the tokens, which would be an OAuth server, is in this process too. Its public keys come over a socket.

use std::{error::Error, process::ExitCode, sync::Arc};

use axum::{Json, Router, routing::get, routing::post};
use countersign::{KeyId, Origins, PrivateKey, ProvenKey, PublishableKey, Window};
use countersign_client::Client;
use countersign_server::{Bearer, RemoteTokenKeys, RequireBearer, Signed, Verifier, serve};
use countersign_store::{MemoryNonces, NewCredential, Registry, Scope, system_time};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use reqwest::{Request, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const WRITE: Scope = Scope::from_static("orders:write");
const API: &str = "https://api.example.com";

/// What this API reads of a token, beside what every token has.
#[derive(Deserialize)]
struct Customer {
    name: String,
}

async fn add(
    Bearer(token, customer): Bearer<Customer>,
    Signed(caller, Json(order)): Signed<Json<Value>>,
) -> String {
    let (application, subject) = (&caller.application().name, token.subject());
    format!("{application} orders for {} ({subject}): {order}", customer.name)
}

/// Makes access tokens (RFC 9068), and publishes the key that they can be checked with.
struct Issuer {
    url: String,
    key: EncodingKey,
}

impl Issuer {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let key = EncodingKey::from_ed_pem(new_key()?.expose_pkcs8_pem()?.as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        jwk.common.key_id = Some("2026-11".into());
        let jwks = json!({ "keys": [jwk] });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let page = Router::new().route("/jwks", get(async move || Json(jwks)));
        tokio::spawn(serve(listener, page, std::future::pending()));
        Ok(Self { url, key })
    }

    /// A token for the holder of this key, who acts for Ada.
    fn token(&self, scope: &str, holder: PublishableKey) -> Result<String, Box<dyn Error>> {
        let thumbprint = holder.thumbprint().ok_or("an Ed25519 key has one")?;
        let now = system_time().unix();
        let claims = json!({
            "iss": self.url,
            "aud": API,
            "sub": "customer-7",
            "client_id": "shop",
            "iat": now,
            "exp": now.saturating_add(300),
            "jti": "1",
            "scope": scope,
            "cnf": { "jkt": KeyId::Thumbprint(thumbprint).to_string() },
            "name": "Ada",
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some("2026-11".into());
        Ok(encode(&header, &claims, &self.key)?)
    }
}

fn new_key() -> Result<PrivateKey, Box<dyn Error>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(PrivateKey::ed25519(&seed))
}

async fn run() -> Result<(), Box<dyn Error>> {
    let issuer = Issuer::start().await?;

    let folder = tempfile::tempdir()?;
    let db = format!("sqlite:{}", folder.path().join("registry.db").display());
    let registry = Arc::new(Registry::open_or_create(&db).await?);
    let key = new_key()?;
    let (shop, other) = (key.publishable_key(), new_key()?.publishable_key());
    registry.add_application("shop", "test", system_time()).await?;
    let proven = ProvenKey::from(&key);
    registry.add_credential(NewCredential::new("shop", "laptop", &proven), system_time()).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let nonces = MemoryNonces::durable(Window::default(), registry.clone(), system_time()).await?;
    let verifier = Verifier::new(Origins::new([origin.parse()?])?, registry, nonces);
    let keys = RemoteTokenKeys::new(&format!("{}/jwks", issuer.url))?;
    // Here, so that a wrong URL shows at the start. An issuer that is away for a moment need not stop it.
    keys.fetch().await?;
    let token = RequireBearer::new(&issuer.url, API, keys)?.scope(WRITE).require_key_binding();
    let app =
        Router::new().route("/v1/orders", post(add).route_layer(token)).layer(verifier.layer());
    tokio::spawn(serve(listener, app, std::future::pending()));

    let client = Client::new(key)?;
    let order = |token: Option<&str>| {
        let request = client.post(format!("{origin}/v1/orders")).json(&json!({ "item": "book" }));
        // The client covers it.
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.sign()
    };
    let token = issuer.token("orders:write", shop)?;
    say("signature and token", order(Some(&token))?).await?;
    say("signature alone", order(None)?).await?;
    say("a token to read", order(Some(&issuer.token("orders:read", shop)?))?).await?;
    say("a token of another key", order(Some(&issuer.token("orders:write", other)?))?).await?;

    let stolen = issuer.token("orders:read orders:write", shop)?;
    let mut swapped = order(Some(&token))?;
    swapped.headers_mut().insert(AUTHORIZATION, format!("Bearer {stolen}").parse()?);
    say("swapped on its way", swapped).await?;
    let mut taken_out = order(Some(&token))?;
    taken_out.headers_mut().remove(AUTHORIZATION);
    say("taken out on its way", taken_out).await?;
    let mut put_in = order(None)?;
    put_in.headers_mut().insert(AUTHORIZATION, format!("Bearer {stolen}").parse()?);
    say("put in on its way", put_in).await?;
    Ok(())
}

/// Sends a request as it is, and says what became of it.
async fn say(what: &str, request: Request) -> Result<(), reqwest::Error> {
    let response = reqwest::Client::new().execute(request).await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let problem: Option<Value> = serde_json::from_str(&text).ok();
    let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str());
    println!("{what:<22} →  {status} {}", code.unwrap_or(&text));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!(
                "hint: it needs two free ports of 127.0.0.1 and a folder for temporary files"
            );
            ExitCode::FAILURE
        }
    }
}
