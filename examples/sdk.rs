//! The client crate of an API, as its author publishes it: one constructor, typed calls, typed errors, and no signing in
//! sight.
//!
//! ```console
//! $ cargo run --features client --example sdk -- shop.key http://127.0.0.1:8080 book
//! ```
//!
//! Its users test against a service of their own, as the test `users_of_an_sdk_test_against_a_service_of_their_own` in
//! `tests.rs` does. `sdk_blocking.rs` is the same without an async runtime.

#![allow(clippy::missing_errors_doc, missing_docs, unreachable_pub, reason = "in short")]

use std::{env, time::Duration};

use countersign_client::{Client, Error, KeySource, Refusal, RequestBuilder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The shop.
#[derive(Clone, Debug)]
pub struct Shop {
    client: Client,
    origin: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Order {
    pub item: String,
}

/// An order that the shop took.
#[derive(Debug, Deserialize)]
pub struct Placed {
    pub signed_by: String,
    pub order: Order,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    #[error("too many calls; the next may be made in {0:?}")]
    Limited(Duration),
    #[error("the shop refused the call: {0}")]
    Denied(String),
    #[error("the call failed")]
    Failed(#[source] Error),
}

impl Shop {
    /// The shop at `origin`, with the key that it knows you by: a file, `env:NAME`, `fd:N`, or `keyring:SERVICE/USER`.
    pub fn new(origin: &str, key: &KeySource) -> Result<Self, ShopError> {
        Ok(Self { client: Client::from_key_source(key)?, origin: origin.to_owned() })
    }

    /// Places an order.
    pub async fn place(&self, order: &Order) -> Result<Placed, ShopError> {
        let url = format!("{}/v1/orders", self.origin);
        Ok(answer(self.client.post(url).json(order)).await?)
    }

    /// The orders so far.
    pub async fn orders(&self) -> Result<Vec<Order>, ShopError> {
        #[derive(Deserialize)]
        struct List {
            orders: Vec<Order>,
        }
        let url = format!("{}/v1/orders", self.origin);
        let list: List = answer(self.client.get(url)).await?;
        Ok(list.orders)
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    let response = Refusal::check(request.send().await?).await?;
    Ok(response.error_for_status()?.json().await?)
}

impl From<Error> for ShopError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => match refusal.retry_after {
                Some(pause) => Self::Limited(pause),
                None => Self::Denied(refusal.to_string()),
            },
            error => Self::Failed(error),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [key, origin, item] = arguments.as_slice() else {
        return Err("sdk KEY ORIGIN ITEM".into());
    };
    let shop = Shop::new(origin, &key.parse()?)?;
    let placed = shop.place(&Order { item: item.to_owned() }).await?;
    println!("{placed:?}, after {} orders", shop.orders().await?.len());
    Ok(())
}
