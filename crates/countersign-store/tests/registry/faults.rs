//! Databases that are locked, full, read-only, damaged, or of a newer version. Each error says which.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

#[cfg(feature = "postgres")]
use countersign_store::ServerError;
use countersign_store::{Ceiling, FileError, KeyStore, Owner, Registry, RegistryError};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
    listed::applications,
};

on_both! {
    a_change_that_a_transaction_of_others_holds_up_says_so_in_seconds
    a_registry_of_a_newer_version_is_left_alone
    a_change_that_fails_leaves_nothing_of_itself
    whoever_waits_in_vain_keeps_nobody_from_what_comes_later
}

fn is_locked(error: &RegistryError) -> bool {
    match error {
        RegistryError::File(FileError::Locked) => true,
        #[cfg(feature = "postgres")]
        RegistryError::Server(ServerError::Locked) => true,
        _ => false,
    }
}

async fn a_change_that_a_transaction_of_others_holds_up_says_so_in_seconds(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    let holder = home.hold().await;
    let began = Instant::now();
    let refused = registry.add_application("other", "live", NOW).await.unwrap_err();
    assert!(is_locked(&refused), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some(), "reads go on");
    assert_eq!(applications(&registry).await.unwrap().len(), 1);
    holder.end().await;
    registry.add_application("other", "live", NOW).await.unwrap();
    assert_eq!(applications(&registry).await.unwrap().len(), 2);
}

async fn whoever_waits_in_vain_keeps_nobody_from_what_comes_later(home: Home) {
    let registry = home.registry().await;
    let holder = home.hold().await;
    // More than a registry has connections.
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..20 {
        let registry = registry.clone();
        waiting.spawn(async move {
            registry.add_application(&format!("shop{number}"), "live", NOW).await
        });
    }
    while let Some(refused) = waiting.join_next().await {
        let refused = refused.unwrap().unwrap_err();
        assert!(is_locked(&refused) || is_busy(&refused), "{refused:?}");
    }
    holder.end().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    assert_eq!(applications(&registry).await.unwrap().len(), 1);
    assert_eq!(registry.audit_entries(0, 10).await.unwrap().len(), 1);
}

/// All connections were taken.
fn is_busy(error: &RegistryError) -> bool {
    #[cfg(feature = "postgres")]
    return matches!(error, RegistryError::Server(ServerError::Unreachable(_)));
    #[cfg(not(feature = "postgres"))]
    {
        let _ = error;
        false
    }
}

async fn a_registry_of_a_newer_version_is_left_alone(home: Home) {
    drop(home.registry().await);
    let table = home.migrations();
    home.raw(&format!(
        "INSERT INTO {table} (version, description, success, checksum, execution_time)
         SELECT 9999, 'from the future', success, checksum, 0 FROM {table} WHERE version = 1"
    ))
    .await;
    for opened in [Registry::open(&home.url()).await, Registry::open_or_create(&home.url()).await] {
        assert!(matches!(opened, Err(RegistryError::NewerSchema)), "{opened:?}");
    }
    home.raw(&format!("DELETE FROM {table} WHERE version = 9999")).await;
    Registry::open(&home.url()).await.unwrap();
}

async fn a_change_that_fails_leaves_nothing_of_itself(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    // The last statement of a change but one fails.
    home.raw("UPDATE countersign.last_change SET number = 0").await;
    let refused = registry.add_application("other", "live", NOW).await.unwrap_err();
    assert!(refused.source().is_some(), "{refused:?}");
    assert_eq!(applications(&registry).await.unwrap().len(), 1);
    assert_eq!(registry.audit_entries(0, 10).await.unwrap().len(), 2);
    home.raw("UPDATE countersign.last_change SET number = 2").await;
    registry.add_application("other", "live", NOW).await.unwrap();
    let owner = Owner::random().unwrap();
    registry.take_over(owner).await.unwrap();
    registry.raise(owner, NOW).await.unwrap();
}

#[tokio::test]
async fn a_file_whose_pages_are_overwritten_is_called_damaged() {
    let home = Home::sqlite().await;
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    registry.close().await;
    let url = home.url();
    let file = url.strip_prefix("sqlite:").unwrap();
    let whole = std::fs::read(file).unwrap();
    // The first page has the schema; the header before it stays.
    for overwritten in [100..4096, 4096..whole.len()] {
        let mut damaged = whole.clone();
        damaged.get_mut(overwritten).unwrap().fill(0xa5);
        std::fs::write(file, &damaged).unwrap();
        let refused = match Registry::open(&url).await {
            Ok(registry) => registry.add_application("other", "live", NOW).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, RegistryError::File(FileError::Damaged)), "{refused:?}");
    }
    std::fs::write(file, whole).unwrap();
    let registry = Registry::open(&url).await.unwrap();
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
}
