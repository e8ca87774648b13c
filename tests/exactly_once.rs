//! Two servers that do not know of each other, and one database in which a signed request writes once.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::post};
use countersign::{Code, Origins, Window};
use countersign_server::{Signed, SignedCaller, Verifier, serve};
use countersign_store::{NotClaimed, PostgresNonces, StoreError};
use harness::{NOW, Postgres, Raw, Service, exchange};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, task::JoinSet};

#[derive(Clone)]
struct Shop {
    pool: PgPool,
    nonces: PostgresNonces,
    /// How often the handler ran.
    handled: Arc<AtomicUsize>,
}

impl Shop {
    async fn open(postgres: &Postgres) -> Self {
        let pool = PgPoolOptions::new().max_connections(80).connect(&postgres.url()).await.unwrap();
        let table = "CREATE TABLE payment (payer bigint NOT NULL, amount bigint NOT NULL)";
        sqlx::query(table).execute(&pool).await.unwrap();
        let started = NOW.minus(Duration::from_secs(3600));
        let nonces = PostgresNonces::prepare(pool.clone(), Window::default(), started);
        let nonces = nonces.await.unwrap();
        Self { pool, nonces, handled: Arc::default() }
    }

    async fn pay(&self, caller: &SignedCaller, order: &Value) -> Result<(), NotClaimed> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        let unavailable = |error| StoreError::because("the payment cannot be written", error);
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        self.nonces.claim_in(&mut transaction, caller.nonce_use(), NOW).await?;
        sqlx::query("INSERT INTO payment VALUES ($1, $2)")
            .bind(caller.credential().id.get())
            .bind(order.get("amount").and_then(Value::as_i64))
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        Ok(transaction.commit().await.map_err(unavailable)?)
    }

    /// One more server, with a replay guard of its own.
    async fn serve(&self) -> SocketAddr {
        let shop = self.clone();
        let pay = async move |Signed(caller, Json(order)): Signed<Json<Value>>| match shop
            .pay(&caller, &order)
            .await
        {
            Ok(()) => (StatusCode::CREATED, String::new()),
            Err(refused) => (refused.code().status(), refused.code().as_str().to_owned()),
        };
        let origins = Origins::new(["https://api.example.com".parse().unwrap()]).unwrap();
        let verifier = Verifier::new(origins, Service::keys(), Service::nonces()).clock(|| NOW);
        let app = Router::new().route("/v1/orders", post(pay)).layer(verifier.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app, std::future::pending()));
        address
    }

    /// How often each amount was paid.
    async fn paid(&self) -> BTreeMap<i64, i64> {
        let paid = "SELECT amount, count(*) FROM payment GROUP BY amount";
        let paid: Vec<(i64, i64)> = sqlx::query_as(paid).fetch_all(&self.pool).await.unwrap();
        paid.into_iter().collect()
    }
}

fn order(amount: i64) -> Raw {
    Raw::order().body(json!({ "amount": amount }).to_string().as_bytes()).signed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_servers_with_guards_of_their_own_both_let_through_is_written_once() {
    const ORDERS: i64 = 320;
    let postgres = Postgres::start();
    let shop = Shop::open(&postgres).await;
    let (one, other) = (shop.serve().await, shop.serve().await);
    for first in (1..=ORDERS).step_by(32) {
        let mut sent = JoinSet::new();
        for amount in first..first + 32 {
            let bytes = order(amount).bytes();
            sent.spawn(async move { tokio::join!(exchange(one, &bytes), exchange(other, &bytes)) });
        }
        for (one, other) in sent.join_all().await {
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 401], "{one:?} {other:?}");
            let refused = if one.status == 401 { one } else { other };
            assert_eq!(refused.body, Code::SignatureReplayed.as_str());
        }
    }
    let handled = shop.handled.load(Ordering::SeqCst);
    assert_eq!(i64::try_from(handled).unwrap(), 2 * ORDERS, "no guard saw what the other did");
    assert_eq!(shop.paid().await, (1..=ORDERS).map(|amount| (amount, 1)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_can_be_carried_out_by_the_other_server() {
    let postgres = Postgres::start();
    let shop = Shop::open(&postgres).await;
    let (one, other) = (shop.serve().await, shop.serve().await);
    let run = async |statement| {
        sqlx::query(statement).execute(&shop.pool).await.unwrap();
    };
    let bytes = order(7).bytes();
    run("ALTER TABLE payment ADD CONSTRAINT closed CHECK (amount < 0)").await;
    assert_eq!(exchange(one, &bytes).await.status, 503);
    run("ALTER TABLE payment DROP CONSTRAINT closed").await;
    assert_eq!(exchange(one, &bytes).await.code(), "signature-replayed", "its guard remembers");
    assert_eq!(exchange(other, &bytes).await.status, 201);
    assert_eq!(shop.paid().await, BTreeMap::from([(7, 1)]));
}
