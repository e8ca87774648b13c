//! The scopes and restrictions of credentials, in registries on real files.

use std::sync::Arc;

use countersign::{KeyId, PrivateKey, ProvenKey, PublishableKey, Timestamp};
use countersign_store::{
    Credential, CredentialSettings, KeyStore, NewCredential, Registry, RegistryError, Restriction,
    RestrictionKind, Restrictions, Revocation, Scopes, Subject,
};
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use crate::{listed::credentials, watch::until};

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("registry.sqlite").display())
    }

    /// With the application `shop`.
    async fn registry(&self) -> Registry {
        let registry = Registry::open_or_create(&self.url()).await.unwrap();
        registry.add_application("shop", "live", NOW).await.unwrap();
        registry
    }

    async fn raw(&self, statements: &'static str) {
        let mut connection =
            SqliteConnection::connect(&format!("{}?mode=rwc", self.url())).await.unwrap();
        connection.execute(statements).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn ask(&self, question: &'static str) -> i64 {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
    }
}

fn key() -> PrivateKey {
    PrivateKey::ed25519(&[1; 32])
}

fn id() -> KeyId {
    KeyId::Publishable(key().publishable_key())
}

fn scopes(text: &str) -> Scopes {
    text.parse().unwrap()
}

fn restriction(kind: RestrictionKind, entry: &str) -> Restriction {
    Restriction::new(kind, [entry]).unwrap()
}

fn restrictions() -> Restrictions {
    Restrictions::default()
        .with(restriction(RestrictionKind::Ip, "192.0.2.0/24"))
        .with(restriction(RestrictionKind::Origin, "https://shop.example").insecure_report_only())
}

/// With scopes and restrictions.
async fn add(registry: &Registry) -> Arc<Credential> {
    let proven = ProvenKey::from(&key());
    let new = NewCredential::new("shop", "first", &proven);
    let new = new.scopes(scopes("orders:read orders:write")).restrictions(restrictions());
    registry.add_credential(new, NOW).await.unwrap()
}

fn said(credential: &Credential) -> (Scopes, Restrictions) {
    (credential.scopes.clone(), credential.restrictions.clone())
}

#[tokio::test]
async fn scopes_and_restrictions_are_kept() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    let expected = (scopes("orders:read orders:write"), restrictions());
    assert_eq!(said(&*add(&registry).await), expected);
    registry.close().await;
    let registry = Registry::open(&folder.url()).await.unwrap();
    assert_eq!(said(&registry.credential(&id()).await.unwrap()), expected);
    assert_eq!(said(&registry.find(&id(), NOW).await.unwrap().unwrap()), expected);
    let listed = credentials(&registry, None).await.unwrap();
    assert_eq!(said(listed.first().unwrap().as_ref().unwrap()), expected);
    let revoked = registry.revoke(&id(), None, NOW).await.unwrap();
    let Revocation::Revoked(revoked) = revoked else {
        panic!("{revoked:?}");
    };
    assert_eq!(said(&revoked), expected);
}

#[tokio::test]
async fn a_credential_of_which_nothing_is_said_may_do_nothing_and_from_everywhere() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    let proven = ProvenKey::from(&key());
    let new = NewCredential::new("shop", "first", &proven);
    let added = registry.add_credential(new, NOW).await.unwrap();
    assert_eq!(said(&added), (Scopes::default(), Restrictions::default()));
}

#[tokio::test]
async fn a_change_is_effective_at_once_here_and_soon_elsewhere_by_both_names_of_the_key() {
    let folder = Folder::new();
    let (here, elsewhere) =
        (folder.registry().await, Registry::open_or_create(&folder.url()).await.unwrap());
    let before = said(&*add(&here).await);
    let thumbprint = KeyId::Thumbprint(key().verifying_key().thumbprint().unwrap());
    for registry in [&here, &elsewhere] {
        for id in [&id(), &thumbprint] {
            assert_eq!(said(&registry.find(id, NOW).await.unwrap().unwrap()), before);
        }
    }
    let changed = here
        .change_credential(&id(), NOW, |settings| {
            settings.scopes.remove(&"orders:write".parse().unwrap());
            settings.restrictions.remove(RestrictionKind::Origin);
            settings.restrictions.insert(restriction(RestrictionKind::Ip, "198.51.100.7"));
        })
        .await
        .unwrap();
    let ip = restriction(RestrictionKind::Ip, "198.51.100.7");
    let after = (scopes("orders:read"), Restrictions::default().with(ip));
    assert_eq!(said(&changed), after);
    for id in [&id(), &thumbprint] {
        let found = here.find(id, NOW).await.unwrap().unwrap();
        assert_eq!(said(&found), after);
        until("it is effective", async || {
            said(&elsewhere.find(id, NOW).await.unwrap().unwrap()) == after
        })
        .await;
    }
}

#[tokio::test]
async fn of_changes_at_the_same_time_none_is_lost() {
    let folder = Folder::new();
    let registry = Arc::new(folder.registry().await);
    add(&registry).await;
    let changes = (0..20_u8).map(|number| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            let scope = format!("scope:{number}").parse().unwrap();
            let change = move |settings: &mut CredentialSettings| settings.scopes.insert(scope);
            registry.change_credential(&id(), NOW, change).await.map(drop)
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    let changed = registry.credential(&id()).await.unwrap();
    assert_eq!(changed.scopes.iter().count(), 22);
    assert_eq!(changed.restrictions, restrictions());
}

#[tokio::test]
async fn a_key_that_is_not_there_is_not_changed() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    let changed = registry.change_credential(&id(), NOW, |_| {}).await;
    assert!(matches!(changed, Err(RegistryError::NotFound(Subject::Credential))), "{changed:?}");
}

#[tokio::test]
async fn what_was_damaged_names_nobody_and_is_never_without_restrictions() {
    let damages = [
        ("UPDATE credential SET restrictions = ''", "its restrictions"),
        (
            r#"UPDATE credential SET restrictions = '{"version":1,"restrictions":[{"kind":"moon","enforcement":"enforce","allow":["x"]}]}'"#,
            "its restrictions",
        ),
        (
            r#"UPDATE credential SET restrictions = '{"version":2,"restrictions":[]}'"#,
            "its restrictions",
        ),
        ("UPDATE credential SET scopes = 'orders:write  admin'", "its scopes"),
        ("UPDATE credential SET scopes = 'a,b'", "its scopes"),
        ("UPDATE credential SET label = CAST(x'FF' AS TEXT)", "one of its columns"),
    ];
    for (damage, what) in damages {
        let folder = Folder::new();
        let registry = folder.registry().await;
        add(&registry).await;
        folder.raw(damage).await;
        assert!(registry.find(&id(), NOW).await.unwrap().is_none(), "{damage}");
        for refused in [
            registry.credential(&id()).await.map(drop),
            registry.change_credential(&id(), NOW, |_| {}).await.map(drop),
            registry.revoke(&id(), None, NOW).await.map(drop),
        ] {
            let error = refused.unwrap_err();
            let named = matches!(&error, RegistryError::DamagedCredential { what: said, .. } if *said == what);
            assert!(named, "{damage}: {error}");
        }
    }
}

#[tokio::test]
async fn a_registry_of_an_earlier_version_is_brought_up_to_date_and_keeps_what_it_has() {
    let folder = Folder::new();
    folder.raw(include_str!("registry_0001.sql")).await;
    let registry = Registry::open(&folder.url()).await.unwrap();
    let key: PublishableKey =
        "pk_bSi9UqAUWQHfomMta4b4ryhh2BEdxUd7eEQtSsAqo2WLa2mMjT".parse().unwrap();
    let added_at = Timestamp::from_unix(1_795_581_714);
    let credential = registry.credential(&KeyId::Publishable(key)).await.unwrap();
    assert_eq!((credential.label.as_str(), credential.created_at), ("laptop", added_at));
    assert_eq!(said(&credential), (Scopes::default(), Restrictions::default()));
    let restrict = |settings: &mut CredentialSettings| settings.restrictions = restrictions();
    registry.change_credential(&key.into(), NOW, restrict).await.unwrap();
    registry.close().await;
    let registry = Registry::open(&folder.url()).await.unwrap();
    let credential = registry.credential(&KeyId::Publishable(key)).await.unwrap();
    assert_eq!(said(&credential), (Scopes::default(), restrictions()));
    assert_eq!(
        folder.ask("SELECT seconds FROM replay_ceiling WHERE owner = 7").await,
        1_795_581_720
    );
}
