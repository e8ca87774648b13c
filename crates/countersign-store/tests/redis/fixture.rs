use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use countersign::{Claim, Nonce, NonceUse, Timestamp, Window};
use countersign_store::{NonceStore, Redis, RedisNonces, StoreError, system_time};

use crate::server::RedisServer;

/// The key of the mark.
pub(crate) const MARK: &str = "{countersign:default}:mark";

/// With a patience that a busy machine does not use up.
pub(crate) fn at(server: &RedisServer) -> Redis {
    Redis::single(&server.url()).unwrap().timeout(Duration::from_secs(20))
}

pub(crate) async fn guard(redis: Redis) -> RedisNonces {
    RedisNonces::connect(redis, Window::default(), system_time()).await.unwrap()
}

/// A Redis whose mark was made long ago, so that it accepts at once.
pub(crate) async fn settled(options: &[&str]) -> RedisServer {
    let server = RedisServer::start_with(options);
    settle(&server).await;
    server
}

pub(crate) async fn settle(server: &RedisServer) {
    drop(guard(at(server)).await);
    server.settle("default");
}

/// A nonce that nobody else uses.
pub(crate) fn nonce(credential: i64, created: Timestamp) -> NonceUse {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    NonceUse::new(credential, created, Nonce::from_random(number.to_be_bytes()))
}

pub(crate) fn new() -> NonceUse {
    nonce(1, system_time())
}

pub(crate) async fn claim(guard: &RedisNonces, used: &NonceUse) -> Result<Claim, StoreError> {
    guard.claim(used, system_time()).await
}

pub(crate) async fn claim_new(guard: &RedisNonces) -> Result<Claim, StoreError> {
    claim(guard, &new()).await
}

/// An error and what caused it.
pub(crate) fn told(error: &StoreError) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}

/// Asserts that it is an error that says this.
#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(answer: Result<T, StoreError>, saying: &str) {
    let error = answer.unwrap_err();
    assert!(told(&error).contains(saying), "{}", told(&error));
}

pub(crate) fn is_too_old(claim: Result<Claim, StoreError>) -> bool {
    matches!(claim.unwrap(), Claim::TooOld { .. })
}
