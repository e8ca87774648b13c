//! The blocking twin of `sdk.rs`: the client crate of an API for programs without an async runtime.
//!
//! ```console
//! $ cargo run --features client --example sdk_blocking -- shop.key http://127.0.0.1:8080 book
//! ```

#![allow(clippy::missing_errors_doc, missing_docs, unreachable_pub, reason = "in short")]

use std::{env, time::Duration};

use countersign_client::{Error, KeySource, blocking::Client};
use serde::{Deserialize, Serialize};

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
    pub fn place(&self, order: &Order) -> Result<Placed, ShopError> {
        let url = format!("{}/v1/orders", self.origin);
        Ok(self.client.post(url).json(order).send()?.check()?.json()?)
    }

    /// The orders so far.
    pub fn orders(&self) -> Result<Vec<Order>, ShopError> {
        #[derive(Deserialize)]
        struct List {
            orders: Vec<Order>,
        }
        let url = format!("{}/v1/orders", self.origin);
        let list: List = self.client.get(url).send()?.check()?.json()?;
        Ok(list.orders)
    }
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [key, origin, item] = arguments.as_slice() else {
        return Err("sdk_blocking KEY ORIGIN ITEM".into());
    };
    let shop = Shop::new(origin, &key.parse()?)?;
    let placed = shop.place(&Order { item: item.to_owned() })?;
    println!("{placed:?}, after {} orders", shop.orders()?.len());
    Ok(())
}
