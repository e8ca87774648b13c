use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use axum::{Router, http::StatusCode, routing::post};
use countersign::Origins;
use countersign_server::{Signed, Verifier};
use countersign_store::{Gate, KeyStore};

/// A verifier for the origin that orders are signed for, by the system's clock.
pub fn order_verifier<K: KeyStore, G: Gate>(keys: K, gate: G) -> Verifier<K, G> {
    let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
    Verifier::new(origins, keys, gate)
}

/// The handler of orders, each of which is a line more in the file.
pub fn order_log(file: PathBuf) -> Router {
    let handled = async move |Signed(_, order): Signed<String>| {
        let mut file = OpenOptions::new().append(true).create(true).open(&file).unwrap();
        // One write, so that lines of several processes stay whole.
        file.write_all(format!("{order}\n").as_bytes()).unwrap();
        StatusCode::CREATED
    };
    Router::new().route("/v1/orders", post(handled))
}
