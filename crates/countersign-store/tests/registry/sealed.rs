//! HMAC secrets, sealed with a master key, on each database.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use countersign::{PrivateKey, ProvenKey};
use countersign_store::{
    Action, Actor, KeyStore, MasterKey, MasterKeyRole, MasterKeys, NewCredential, NotOpened,
    Registry, RegistryError, RegistryOptions, Revocation, RewrapBatch, Rewrapped, Standing, State,
};

use crate::{
    home::{Home, on_both},
    life::{NOW, add, id, key},
    listed::credentials,
    log::Log,
};

on_both! {
    a_secret_is_sealed_when_it_is_registered
    without_its_master_key_a_credential_is_refused_and_everything_else_works
    another_master_key_opens_nothing_and_a_previous_one_everything
    a_sealed_secret_that_was_changed_or_swapped_is_damaged
    a_registry_with_plain_secrets_is_sealed_when_it_is_opened_with_a_master_key
    plain_secrets_work_without_a_master_key_and_the_log_says_so
    servers_get_a_master_key_one_after_the_other
    secrets_move_to_a_new_master_key_in_batches_that_can_be_interrupted
    two_programs_that_rewrap_at_once_do_no_harm
    a_damaged_secret_stops_no_other_from_being_sealed
}

/// The master key of bytes that no test guesses, one for each number.
fn master(number: u64) -> MasterKey {
    let mut bytes = [0; 32];
    fastrand::Rng::with_seed(number).fill(&mut bytes);
    MasterKey::new(&bytes).unwrap()
}

fn secret(number: u64) -> [u8; 32] {
    let mut secret = [0; 32];
    fastrand::Rng::with_seed(1000 + number).fill(&mut secret);
    secret
}

fn hmac(number: u8) -> PrivateKey {
    PrivateKey::hmac_sha256([number; 16], &secret(number.into())).unwrap()
}

async fn open(home: &Home, current: u64, previous: Option<u64>) -> Registry {
    let keys = MasterKeys::new(master(current)).with_previous(previous.map(master));
    RegistryOptions::new().master_keys(keys).open_or_create(&home.url()).await.unwrap()
}

async fn is_accepted(registry: &Registry, key: &PrivateKey) -> bool {
    let found = registry.find(&id(key), NOW).await.unwrap();
    found.is_some_and(|found| found.key.verify(b"base", &key.sign(b"base")).is_ok())
}

/// Moves all secrets, and returns what was done.
async fn rewrap(registry: &Registry, size: u32) -> Rewrapped {
    let (mut all, mut next) = (Rewrapped::default(), Some(RewrapBatch::first(Some(size))));
    while let Some(batch) = next {
        let (done, after) = registry.rewrap(batch, NOW).await.unwrap();
        all.moved += done.moved;
        all.damaged.extend(done.damaged);
        next = after;
    }
    all
}

/// Returns those of these secrets of which a part is in the database.
async fn shown(home: &Home, numbers: impl Iterator<Item = u8>) -> Vec<u8> {
    let loot = home.loot().await;
    let is_shown = |number: &u8| {
        secret((*number).into()).chunks(8).any(|part| {
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let has = |shown: &[u8]| loot.windows(shown.len()).any(|bytes| bytes == shown);
            has(part) || has(hex.as_bytes())
        })
    };
    numbers.filter(is_shown).collect()
}

async fn assert_hidden(home: &Home, numbers: impl Iterator<Item = u8>) {
    assert_eq!(shown(home, numbers).await, [0; 0]);
}

async fn a_secret_is_sealed_when_it_is_registered(home: Home) {
    let registry = open(&home, 1, None).await;
    add(&registry, &hmac(1)).await;
    add(&registry, &key(2)).await;
    assert!(is_accepted(&registry, &hmac(1)).await && is_accepted(&registry, &key(2)).await);
    assert_hidden(&home, 1..=1).await;
    let secrets = registry.secrets().await.unwrap();
    assert_eq!((secrets.plain, secrets.left(), secrets.unopened()), (0, 0, 0));
    let [sealed] = secrets.sealed.as_slice() else { panic!("{secrets:?}") };
    assert_eq!((sealed.master_key, sealed.count), (Some(master(1).id()), 1));
    assert_eq!(sealed.role, MasterKeyRole::Current);
    registry.close().await;
    let registry = open(&home, 1, None).await;
    assert_eq!((registry.sealed_now(), registry.has_master_key()), (0, true));
    assert!(is_accepted(&registry, &hmac(1)).await);
    for printed in
        [format!("{registry:?}"), format!("{:?}", registry.credential(&id(&hmac(1))).await)]
    {
        let shown = format!("{:?}", secret(1));
        assert!(!printed.contains(&shown[1..30]), "{printed}");
    }
    assert_hidden(&home, 1..=1).await;
}

async fn without_its_master_key_a_credential_is_refused_and_everything_else_works(home: Home) {
    let registry = open(&home, 1, None).await;
    for seed in 1..=3 {
        add(&registry, &hmac(seed)).await;
    }
    add(&registry, &key(9)).await;
    registry.close().await;

    let (log, _guard) = Log::listen();
    let registry = Registry::open(&home.url()).await.unwrap();
    let told = "no master key is given";
    let [line] = log.lines_with(told).try_into().unwrap();
    assert!(line.starts_with("ERROR") && line.contains(&master(1).id().to_string()), "{line}");
    for seed in 1..=3 {
        assert!(registry.find(&id(&hmac(seed)), NOW).await.unwrap().is_none());
    }
    assert_eq!(log.lines_with(told).len(), 1, "once");
    assert!(is_accepted(&registry, &key(9)).await);
    add(&registry, &key(10)).await;

    let needed = master(1).id();
    let listed = credentials(&registry, Some("shop")).await.unwrap();
    let sealed = listed[0].as_ref().unwrap_err();
    assert!(sealed.is_sealed() && listed[3].is_ok(), "{listed:?}");
    assert_eq!((sealed.key, sealed.state), (Some(id(&hmac(1))), Some(State::Active)));
    let expected = NotOpened::NoMasterKey { needed };
    let shown = registry.credential(&id(&hmac(1))).await.unwrap_err();
    assert!(
        matches!(shown, RegistryError::Sealed { source, .. } if source == expected),
        "{shown:?}"
    );
    let changed = registry.change_credential(&id(&hmac(1)), NOW, |_| {}).await;
    assert!(matches!(changed, Err(RegistryError::Sealed { .. })), "{changed:?}");
    let rewrapped = registry.rewrap(RewrapBatch::first(None), NOW).await;
    assert!(matches!(rewrapped, Err(RegistryError::NoMasterKey)), "{rewrapped:?}");
    assert_eq!(registry.secrets().await.unwrap().unopened(), 3);

    let revoked = registry.revoke(&id(&hmac(1)), None, NOW).await;
    assert!(matches!(revoked, Err(RegistryError::Sealed { .. })), "{revoked:?}");
    let sealed = registry.listed_credential(&id(&hmac(1))).await.unwrap().unwrap_err();
    assert_eq!(sealed.state, Some(State::Revoked));
    let entries = registry.audit_entries(0, 100).await.unwrap();
    let entry = entries.last().unwrap();
    assert_eq!((&*entry.action, entry.application.as_deref()), ("key.revoke", Some("shop")));
    registry.close().await;
    let registry = open(&home, 1, None).await;
    let found = registry.find(&id(&hmac(1)), NOW).await.unwrap().unwrap();
    assert_eq!(found.standing(NOW), Standing::Revoked);
    assert!(is_accepted(&registry, &hmac(2)).await);
}

async fn another_master_key_opens_nothing_and_a_previous_one_everything(home: Home) {
    let registry = open(&home, 1, None).await;
    add(&registry, &hmac(1)).await;
    registry.close().await;

    let (log, _guard) = Log::listen();
    let registry = open(&home, 2, Some(3)).await;
    let [line] = log.lines_with("another master key").try_into().unwrap();
    for number in 1..=3 {
        assert!(line.contains(&master(number).id().to_string()), "{line}");
    }
    assert!(registry.find(&id(&hmac(1)), NOW).await.unwrap().is_none());
    let error = registry.credential(&id(&hmac(1))).await.unwrap_err();
    let RegistryError::Sealed { source: NotOpened::OtherMasterKey { needed, .. }, .. } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(needed, master(1).id());
    // It moves nothing that it cannot open, and loses nothing.
    assert_eq!(rewrap(&registry, 10).await, Rewrapped::default());
    add(&registry, &hmac(2)).await;
    let secrets = registry.secrets().await.unwrap();
    assert_eq!((secrets.left(), secrets.unopened()), (1, 1));
    registry.close().await;

    let registry = open(&home, 2, Some(1)).await;
    assert!(is_accepted(&registry, &hmac(1)).await && is_accepted(&registry, &hmac(2)).await);
    assert_eq!(registry.secrets().await.unwrap().left(), 1);
    let registry = open(&home, 1, Some(2)).await;
    assert!(is_accepted(&registry, &hmac(1)).await && is_accepted(&registry, &hmac(2)).await);
}

async fn a_sealed_secret_that_was_changed_or_swapped_is_damaged(home: Home) {
    let registry = open(&home, 1, None).await;
    for seed in 1..=3 {
        add(&registry, &hmac(seed)).await;
    }
    let set = |value: &str, number: u8| {
        format!("UPDATE countersign.credential SET sealed_secret = {value} WHERE id = {number}")
    };
    let of = |number: u8| {
        format!("(SELECT sealed_secret FROM countersign.credential WHERE id = {number})")
    };
    home.raw(
        "CREATE TABLE countersign.kept AS SELECT id, sealed_secret FROM countersign.credential",
    )
    .await;
    let kept =
        |number: u8| format!("(SELECT sealed_secret FROM countersign.kept WHERE id = {number})");
    let flipped = |at: u8| match &home {
        Home::Sqlite(_) => format!(
            "CAST(substr(sealed_secret, 1, {at} - 1) ||
                  CASE substr(sealed_secret, {at}, 1) WHEN x'00' THEN x'01' ELSE x'00' END ||
                  substr(sealed_secret, {at} + 1) AS BLOB)"
        ),
        #[cfg(all(feature = "postgres", unix))]
        Home::Postgres(_) => {
            format!("set_byte(sealed_secret, {at} - 1, get_byte(sealed_secret, {at} - 1) # 1)")
        }
    };
    let values = [
        of(2),
        flipped(9),
        flipped(40),
        flipped(70),
        "substr(sealed_secret, 1, 79)".to_owned(),
        "substr(sealed_secret, 1, 8)".to_owned(),
        "substr(sealed_secret, 1, 3)".to_owned(),
        "substr(sealed_secret, 1, 0)".to_owned(),
    ];
    for value in values {
        home.raw(&set(&value, 1)).await;
        let registry = open(&home, 1, None).await;
        let error = registry.credential(&id(&hmac(1))).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::DamagedCredential { what: "its secret", .. }),
            "{value}: {error:?}"
        );
        assert!(registry.find(&id(&hmac(1)), NOW).await.unwrap().is_none(), "{value}");
        assert!(is_accepted(&registry, &hmac(3)).await, "{value}");
        assert!(registry.secrets().await.is_ok());
        assert_eq!(rewrap(&registry, 1).await.moved, 0, "{value}");
        registry.close().await;
        home.raw(&set(&kept(1), 1)).await;
    }
    let registry = open(&home, 1, None).await;
    assert!(is_accepted(&registry, &hmac(1)).await, "it was the change that was refused");
    // The same secret under another publishable key, and beside a plain one.
    for columns in [
        format!("publishable_key = '{}'", hmac(7).publishable_key()),
        "hmac_secret = sealed_secret".to_owned(),
    ] {
        home.raw("UPDATE countersign.credential SET label = 'x' WHERE id = 1").await;
        let set = format!("UPDATE countersign.credential SET {columns} WHERE id = 1");
        home.raw(&set).await;
        let registry = open(&home, 1, None).await;
        let listed = credentials(&registry, None).await.unwrap();
        assert!(listed[0].as_ref().is_err_and(|error| !error.is_sealed()), "{columns}");
        let undo = format!(
            "UPDATE countersign.credential SET publishable_key = '{}', hmac_secret = NULL WHERE id = 1",
            hmac(1).publishable_key()
        );
        home.raw(&undo).await;
    }
}

async fn a_registry_with_plain_secrets_is_sealed_when_it_is_opened_with_a_master_key(home: Home) {
    const KEYS: u8 = 110;
    let registry = home.registry().await;
    for seed in 1..=KEYS + 30 {
        add(&registry, &hmac(seed)).await;
    }
    assert!(matches!(registry.revoke(&id(&hmac(3)), None, NOW).await, Ok(Revocation::Revoked(_))));
    registry.close().await;

    assert_eq!(shown(&home, 1..=KEYS).await.len(), usize::from(KEYS));
    // SQLite leaves them behind in unused parts of the file.
    home.raw(&format!("DELETE FROM countersign.credential WHERE id > {KEYS}")).await;
    // A program that is stopped in the middle.
    let options = RegistryOptions::new().master_keys(MasterKeys::new(master(1)));
    let stopped = options.insecure_leave_plain_secrets().open(&home.url()).await.unwrap();
    let (done, next) = stopped.rewrap(RewrapBatch::first(Some(50)), NOW).await.unwrap();
    assert_eq!((done.moved, next.is_some()), (50, true));
    assert!(is_accepted(&stopped, &hmac(1)).await && is_accepted(&stopped, &hmac(KEYS)).await);
    drop(stopped);

    let (log, guard) = Log::listen();
    let ana: Actor = "ana@ops-1".parse().unwrap();
    let options = RegistryOptions::new().master_keys(MasterKeys::new(master(1)));
    let registry = options.acting_as(ana).open(&home.url()).await.unwrap();
    drop(guard);
    assert_eq!(registry.sealed_now(), u64::from(KEYS) - 50);
    assert_eq!(log.lines_with("sealed the plain HMAC secrets").len(), 1);
    assert!(log.lines_with("may be left").is_empty());
    assert_hidden(&home, 1..=KEYS + 30).await;
    for seed in (1..=KEYS).step_by(17) {
        assert!(is_accepted(&registry, &hmac(seed)).await, "{seed}");
    }
    let secrets = registry.secrets().await.unwrap();
    assert_eq!((secrets.plain, secrets.left()), (0, 0));
    assert_eq!(secrets.sealed[0].count, u64::from(KEYS));
    let entries = registry.audit_entries(0, 1000).await.unwrap();
    let rewraps: Vec<_> =
        entries.iter().filter(|entry| entry.action == Action::RewrapKey.as_str()).collect();
    assert_eq!(rewraps.len(), usize::from(KEYS));
    let last = rewraps.last().unwrap();
    assert_eq!(last.key_id.as_deref(), Some(&*hmac(KEYS).publishable_key().to_string()));
    assert!(format!("{last:?}").contains(&master(1).id().to_string()), "{last:?}");
    assert_eq!(last.actor, "ana@ops-1", "who opened the registry");
    registry.close().await;
    assert_hidden(&home, 1..=KEYS + 30).await;
    assert_eq!(open(&home, 1, None).await.sealed_now(), 0);
}

async fn plain_secrets_work_without_a_master_key_and_the_log_says_so(home: Home) {
    let registry = home.registry().await;
    add(&registry, &key(1)).await;
    registry.close().await;
    let (log, _guard) = Log::listen();
    let registry = home.registry().await;
    assert!(log.lines_with("HMAC").is_empty(), "there are none");
    add(&registry, &hmac(2)).await;
    registry.close().await;
    for times in 1..=2 {
        let registry = Registry::open(&home.url()).await.unwrap();
        let lines = log.lines_with("HMAC secrets lie in the registry as they are");
        assert_eq!(lines.len(), times, "once each time");
        let whose = match &home {
            Home::Sqlite(_) => "who reads its file or a copy can sign",
            #[cfg(all(feature = "postgres", unix))]
            Home::Postgres(_) => "who reads the database, a replica or a dump can sign",
        };
        assert!(lines[0].starts_with("WARN") && lines[0].contains(whose), "{lines:?}");
        assert!(is_accepted(&registry, &hmac(2)).await);
        let secrets = registry.secrets().await.unwrap();
        assert_eq!((secrets.plain, secrets.left(), secrets.sealed.len()), (1, 1, 0));
        assert!(!registry.has_master_key());
        registry.close().await;
    }
}

async fn servers_get_a_master_key_one_after_the_other(home: Home) {
    let old = home.registry().await;
    add(&old, &hmac(1)).await;
    let options = RegistryOptions::new().master_keys(MasterKeys::new(master(1)));
    let options = options.insecure_leave_plain_secrets();
    let new = options.open(&home.url()).await.unwrap();
    assert_eq!(new.sealed_now(), 0);
    assert!(is_accepted(&new, &hmac(1)).await && is_accepted(&old, &hmac(1)).await);
    // What is registered from now on is sealed, and the old server refuses it.
    add(&new, &hmac(2)).await;
    assert!(is_accepted(&new, &hmac(2)).await && !is_accepted(&old, &hmac(2)).await);
    old.close().await;
    new.close().await;
    let new = open(&home, 1, None).await;
    assert_eq!(new.sealed_now(), 1);
    assert!(is_accepted(&new, &hmac(1)).await && is_accepted(&new, &hmac(2)).await);
    assert_hidden(&home, 1..=2).await;
}

async fn secrets_move_to_a_new_master_key_in_batches_that_can_be_interrupted(home: Home) {
    let registry = open(&home, 1, None).await;
    for seed in 1..=10 {
        add(&registry, &hmac(seed)).await;
    }
    registry.close().await;
    let registry = open(&home, 2, Some(1)).await;
    // The first batch looks for plain secrets, of which there are none.
    let (none, next) = registry.rewrap(RewrapBatch::first(Some(4)), NOW).await.unwrap();
    assert_eq!(none, Rewrapped::default());
    let (done, _) = registry.rewrap(next.unwrap(), NOW).await.unwrap();
    assert_eq!(done.moved, 4);
    assert_eq!(registry.secrets().await.unwrap().left(), 6);
    registry.close().await;

    let registry = open(&home, 2, Some(1)).await;
    for seed in 1..=10 {
        assert!(is_accepted(&registry, &hmac(seed)).await, "{seed}");
    }
    assert_eq!(rewrap(&registry, 4).await.moved, 6);
    assert_eq!(rewrap(&registry, 4).await, Rewrapped::default());
    assert_eq!(registry.secrets().await.unwrap().left(), 0);
    registry.close().await;
    let registry = open(&home, 2, None).await;
    for seed in 1..=10 {
        assert!(is_accepted(&registry, &hmac(seed)).await, "{seed}");
    }
    let entries = registry.audit_entries(0, 100).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.action == "key.rewrap").count(), 10);
}

async fn two_programs_that_rewrap_at_once_do_no_harm(home: Home) {
    let registry = open(&home, 1, None).await;
    for seed in 1..=20 {
        add(&registry, &hmac(seed)).await;
    }
    registry.close().await;
    let (one, two) = (open(&home, 2, Some(1)).await, open(&home, 2, Some(1)).await);
    let (first, second) = tokio::join!(rewrap(&one, 3), rewrap(&two, 4));
    assert_eq!(first.moved + second.moved, 20, "{first:?} {second:?}");
    assert!(first.damaged.is_empty() && second.damaged.is_empty());
    for seed in 1..=20 {
        assert!(is_accepted(&one, &hmac(seed)).await && is_accepted(&two, &hmac(seed)).await);
    }
    let entries = one.audit_entries(0, 100).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.action == "key.rewrap").count(), 20);
}

async fn a_damaged_secret_stops_no_other_from_being_sealed(home: Home) {
    let registry = home.registry().await;
    for seed in 1..=3 {
        add(&registry, &hmac(seed)).await;
    }
    registry.close().await;
    home.raw(
        "UPDATE countersign.credential SET hmac_secret = substr(hmac_secret, 1, 5) WHERE id = 2",
    )
    .await;
    let registry = open(&home, 1, None).await;
    assert_eq!(registry.sealed_now(), 2);
    let done = rewrap(&registry, 1).await;
    assert_eq!((done.moved, done.damaged.len()), (0, 1));
    assert_eq!(registry.secrets().await.unwrap().left(), 1);
    assert!(is_accepted(&registry, &hmac(1)).await && is_accepted(&registry, &hmac(3)).await);
    let proven = ProvenKey::from(&hmac(4));
    registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
}
