//! Signs a write, and says why if it is refused.
//!
//! ```console
//! $ cargo run --features client --example reqwest_client -- shop.key http://127.0.0.1:8080/v1/orders
//! ```

use std::{env, process::ExitCode};

use countersign_client::{Client, Refusal};
use serde_json::json;

async fn run(key_file: &str, url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_key_file(key_file)?;
    let response = client.post(url).json(&json!({ "item": "book" })).send().await?;
    let response = Refusal::check(response).await?.error_for_status()?;
    println!("{} {}", response.status().as_u16(), response.text().await?);
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let (Some(key_file), Some(url)) = (env::args().nth(1), env::args().nth(2)) else {
        eprintln!("error: a key file and a URL are needed");
        eprintln!("hint: reqwest_client shop.key http://127.0.0.1:8080/v1/orders");
        return ExitCode::FAILURE;
    };
    match run(&key_file, &url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            eprintln!("hint: check the key file and the URL, and that the key is registered there");
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = causes.map(ToString::to_string).collect();
    // Some say what the one below them says.
    texts.dedup();
    texts.join(": ")
}
