//! The registry on real files.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::{Claim, KeyId, Nonce, NonceUse, PrivateKey, ProvenKey, Timestamp, Window};
use countersign_store::{
    ApplicationName, Ceiling, Environment, FileError, KeyStore, MemoryNonces, NewCredential,
    NonceStore, Owner, Registry, RegistryError, Revocation, Standing, State, Subject,
};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::listed::{applications, credentials};

const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("registry.sqlite")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    async fn registry(&self) -> Registry {
        Registry::open_or_create(&self.url()).await.unwrap()
    }

    /// The files in it, with their content.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(self.0.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }

    async fn ask(&self, question: &'static str) -> String {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
    }

    async fn ask_row(&self, question: &'static str) -> (String, String) {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query_as(question).fetch_one(&mut connection).await.unwrap()
    }

    /// Writes columns of a credential past the checks.
    async fn set(&self, credential: i64, columns: &str) {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        let set = format!("UPDATE credential SET {columns} WHERE id = {credential}");
        sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn raw(&self, statement: &'static str) {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::ed25519(&[seed; 32])
}

fn id(key: &PrivateKey) -> KeyId {
    KeyId::Publishable(key.publishable_key())
}

async fn with_key(folder: &Folder, key: &PrivateKey) -> Registry {
    let registry = folder.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    registry
        .add_credential(NewCredential::new("shop", "first", &ProvenKey::from(key)), NOW)
        .await
        .unwrap();
    registry
}

/// An HMAC secret of random bytes.
const SECRET: &[u8; 32] =
    b"\x9a\x1c\x54\xf0\xbe\x7d\x28\x63\xe0\x7f\x1b\x93\xc5\xd8\xa6\x4e\xe2\x71\x0c\x9f\x5b\x38\x46\xad\xf1\x9e\x27\xc0\x8b\x5d\x6a\x34";

#[tokio::test]
async fn a_key_that_others_can_sign_with_is_not_registered() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let seed = *b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
    let published = PrivateKey::ed25519(&seed); // RFC 8032 §7.1
    let guessable =
        PrivateKey::hmac_sha256([1; 16], b"correct horse battery staple correct").unwrap();
    for (key, why) in [(&published, "RFC 8032"), (&guessable, "can be guessed")] {
        let proven = ProvenKey::from(key);
        let new = NewCredential::new("shop", "", &proven);
        let refused = registry.add_credential(new, NOW).await.unwrap_err();
        let RegistryError::Key(error) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains(why), "{error}");
        assert!(registry.find(&id(key), NOW).await.unwrap().is_none());
    }
    let own = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
    let proven = ProvenKey::from(&own);
    registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
}

#[tokio::test]
async fn what_is_registered_is_found_also_after_reopening() {
    let folder = Folder::new();
    let hmac = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
    let registry = with_key(&folder, &key(1)).await;
    let proven = ProvenKey::from(&hmac);
    let expired = NewCredential::new("shop", "", &proven).expires_at(Some(NOW));
    registry.add_credential(expired, NOW).await.unwrap();
    drop(registry);
    let registry = Registry::open(&folder.url()).await.unwrap();
    let found = registry.find(&id(&key(1)), NOW).await.unwrap().unwrap();
    assert_eq!(found.application.name, "shop");
    assert_eq!(
        (found.label.as_str(), found.state, found.created_at),
        ("first", State::Active, NOW)
    );
    let thumbprint = KeyId::Thumbprint(key(1).verifying_key().thumbprint().unwrap());
    let by_thumbprint = registry.find(&thumbprint, NOW).await.unwrap().unwrap();
    assert_eq!(by_thumbprint.id, found.id);
    let found = registry.find(&id(&hmac), NOW).await.unwrap().unwrap();
    assert!(found.key.verify(b"base", &hmac.sign(b"base")).is_ok());
    assert_eq!(found.standing(NOW), Standing::Expired);
    assert!(registry.find(&id(&key(9)), NOW).await.unwrap().is_none());
    assert_eq!(credentials(&registry, Some("shop")).await.unwrap().len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let _registry = folder.registry().await;
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_can_read_gets_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    let hmac = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
    let add = async |key: &PrivateKey| {
        registry.add_credential(NewCredential::new("shop", "", &ProvenKey::from(key)), NOW).await
    };
    for (seed, mode) in [(2, 0o640), (3, 0o604), (4, 0o644), (5, 0o620)] {
        fs::set_permissions(folder.file(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(add(&hmac).await, Err(RegistryError::File(FileError::Exposed { .. }))),
            "{mode:o}"
        );
        add(&key(seed)).await.unwrap();
    }
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    add(&hmac).await.unwrap();
}

#[tokio::test]
async fn a_key_belongs_to_one_application_for_ever() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    registry.add_application("other", "live", NOW).await.unwrap();
    let again = async |application| {
        registry
            .add_credential(NewCredential::new(application, "", &ProvenKey::from(&key(1))), NOW)
            .await
    };
    assert!(matches!(again("shop").await, Err(RegistryError::Exists(_))));
    assert!(matches!(again("other").await, Err(RegistryError::Exists(_))));
    assert!(matches!(again("nobody").await, Err(RegistryError::NotFound(Subject::Application))));
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    assert!(matches!(again("other").await, Err(RegistryError::Exists(_))));
    registry.remove_application("shop", NOW).await.unwrap();
    assert!(matches!(again("other").await, Err(RegistryError::Exists(_))));
}

#[tokio::test]
async fn names_are_unique_and_of_one_form() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let twice = registry.add_application("shop", "test", NOW).await;
    assert!(matches!(twice, Err(RegistryError::Exists(_))));
    for (name, environment) in [
        ("", "live"),
        ("-a", "live"),
        ("a b", "live"),
        ("a\n", "live"),
        ("é", "live"),
        ("a", ""),
        ("a", "Live"),
    ] {
        let refused = registry.add_application(name, environment, NOW).await;
        assert!(matches!(refused, Err(RegistryError::BadName(_))), "{name:?} {environment:?}");
    }
    let mut labels: Vec<_> = ["a\u{7}", "a\n", "a\u{85}"].map(str::to_owned).into();
    labels.extend(
        [("\u{200b}", '\u{200f}'), ("\u{202a}", '\u{202e}'), ("\u{2060}", '\u{2069}')]
            .iter()
            .flat_map(|(first, last)| [format!("a{first}b"), format!("a{last}b")]),
    );
    labels.extend(["\u{feff}a".to_owned(), "a".repeat(65)]);
    for label in labels {
        let proven = ProvenKey::from(&key(1));
        let refused =
            registry.add_credential(NewCredential::new("shop", &label, &proven), NOW).await;
        assert!(matches!(refused, Err(RegistryError::BadName(_))), "{label:?}");
    }
    let labels = ["", "Łódź – 東京 (α)", "\u{200a}\u{2010}", &"é".repeat(64)];
    for (seed, label) in (11..).zip(labels) {
        let proven = ProvenKey::from(&key(seed));
        registry.add_credential(NewCredential::new("shop", label, &proven), NOW).await.unwrap();
    }
}

#[test]
fn a_name_can_be_checked_before_there_is_a_registry() {
    let check = |name: &str, environment: &str| {
        name.parse::<ApplicationName>()?;
        environment.parse::<Environment>()?;
        Ok::<_, RegistryError>(())
    };
    check("shop", "live").unwrap();
    for (name, environment) in [("bad name", "live"), ("shop", "Live"), ("", "")] {
        let refused = check(name, environment);
        assert!(matches!(refused, Err(RegistryError::BadName(_))), "{name:?} {environment:?}");
    }
}

#[tokio::test]
async fn an_application_is_removed_only_when_its_keys_are_revoked() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    assert!(matches!(registry.remove_application("shop", NOW).await, Err(RegistryError::InUse)));
    registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    registry.remove_application("shop", NOW).await.unwrap();
    assert!(applications(&registry).await.unwrap().is_empty());
    let again = registry.remove_application("shop", NOW).await;
    assert!(matches!(again, Err(RegistryError::NotFound(_))));
    registry.add_application("shop", "live", NOW).await.unwrap();
}

#[tokio::test]
async fn a_revocation_is_effective_at_once_here_and_keeps_its_time() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    let standing = async || registry.find(&id(&key(1)), NOW).await.unwrap().unwrap().standing(NOW);
    assert_eq!(standing().await, Standing::Active);
    let revoked = registry.revoke(&id(&key(1)), None, NOW).await.unwrap();
    assert!(matches!(revoked, Revocation::Revoked(_)));
    assert_eq!(standing().await, Standing::Revoked);
    let later = Timestamp::from_unix(NOW.unix() + 100);
    let again = registry.revoke(&id(&key(1)), None, later).await.unwrap();
    let Revocation::WasRevoked(credential) = again else { panic!("{again:?}") };
    assert_eq!(credential.revoked_at, Some(NOW));
    let unknown = registry.revoke(&id(&key(2)), None, NOW).await;
    assert!(matches!(unknown, Err(RegistryError::NotFound(Subject::Credential))));
}

#[tokio::test]
async fn a_revocation_is_effective_although_its_row_is_damaged() {
    let folder = Folder::new();
    let hmac = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
    let registry = with_key(&folder, &hmac).await;
    assert!(registry.find(&id(&hmac), NOW).await.unwrap().is_some());
    folder.raw("UPDATE credential SET hmac_secret = x'00'").await;
    for _ in 0..2 {
        let damaged = registry.revoke(&id(&hmac), None, NOW).await;
        assert!(matches!(damaged, Err(RegistryError::DamagedCredential { .. })), "{damaged:?}");
        assert!(registry.find(&id(&hmac), NOW).await.unwrap().is_none());
    }
    folder.raw("UPDATE credential SET hmac_secret = zeroblob(32)").await;
    let mended = registry.credential(&id(&hmac)).await.unwrap();
    assert_eq!((mended.state, mended.revoked_at), (State::Revoked, Some(NOW)));
}

#[tokio::test]
async fn a_change_that_is_begun_is_made_and_seen_also_if_nobody_waits_for_it() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    let find = async || registry.find(&id(&key(1)), NOW).await.unwrap().unwrap().standing(NOW);
    assert_eq!(find().await, Standing::Active);
    // Nobody gets to write, so that the change is still on its way when it is let go.
    let mut holder = SqliteConnection::connect(&folder.url()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    {
        let id = id(&key(1));
        let change = registry.revoke(&id, None, NOW);
        assert!(timeout(Duration::from_millis(100), change).await.is_err());
        assert_eq!(find().await, Standing::Active);
    }
    holder.close().await.unwrap();
    timeout(Duration::from_secs(10), async {
        while find().await != Standing::Revoked {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_key_that_was_asked_for_too_early_is_found_once_it_is_registered() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none());
    registry.add_application("shop", "live", NOW).await.unwrap();
    registry
        .add_credential(NewCredential::new("shop", "", &ProvenKey::from(&key(1))), NOW)
        .await
        .unwrap();
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn a_clock_that_steps_back_does_not_freeze_an_answer() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    folder.raw("UPDATE credential SET state = 'revoked'").await;
    let before = Timestamp::from_unix(NOW.unix() - 1);
    let found = registry.find(&id(&key(1)), before).await.unwrap().unwrap();
    assert_eq!(found.standing(before), Standing::Revoked);
}

#[tokio::test]
async fn a_key_that_was_put_there_past_the_checks_names_nobody() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    let weak = countersign::PublishableKey::ed25519([0; 32]).to_string();
    let mut connection = SqliteConnection::connect(&folder.url()).await.unwrap();
    sqlx::query("UPDATE credential SET publishable_key = ?")
        .bind(&weak)
        .execute(&mut connection)
        .await
        .unwrap();
    let id = KeyId::Publishable(weak.parse().unwrap());
    assert!(registry.find(&id, NOW).await.unwrap().is_none());
    let shown = registry.credential(&id).await;
    assert!(matches!(shown, Err(RegistryError::DamagedCredential { .. })));
}

#[tokio::test]
async fn the_ceiling_never_falls_and_outlives_the_process() {
    let folder = Folder::new();
    let registry = folder.registry().await;
    let owner = Owner::random().unwrap();
    assert_eq!(registry.take_over(owner).await.unwrap(), None);
    assert_eq!(registry.take_over(owner).await.unwrap(), None);
    registry.raise(owner, NOW).await.unwrap();
    registry.raise(owner, Timestamp::from_unix(5)).await.unwrap();
    drop(registry);
    let next = Owner::random().unwrap();
    assert_eq!(folder.registry().await.take_over(next).await.unwrap(), Some(NOW));
}

#[tokio::test]
async fn only_who_made_a_registry_vouches_that_nothing_was_accepted_with_it() {
    let owner = Owner::random().unwrap();
    let zero = Some(Timestamp::from_unix(0));
    let used = NonceUse::new(1, NOW, Nonce::from_random([7; 16]));
    let start = async |registry| {
        MemoryNonces::durable(Window::default(), Arc::new(registry), NOW).await.unwrap()
    };

    let folder = Folder::new();
    let copy = folder.0.path().join("copy.sqlite");
    let registry = folder.registry().await;
    fs::write(folder.0.path().join("empty.sqlite"), []).unwrap();
    registry.close().await;
    fs::copy(folder.file(), &copy).unwrap();
    let copy = format!("sqlite:{}", copy.display());

    // Made by another process and never used, as far as can be seen: by either way to open it, and however often.
    assert_eq!(folder.registry().await.take_over(owner).await.unwrap(), zero);
    assert_eq!(Registry::open(&folder.url()).await.unwrap().take_over(owner).await.unwrap(), zero);
    let refused = start(folder.registry().await).await.claim(&used, NOW).await.unwrap();
    assert!(matches!(refused, Claim::TooOld { .. }), "{refused:?}");

    // Made here, in a file that was empty: nothing is refused.
    let empty = format!("sqlite:{}", folder.0.path().join("empty.sqlite").display());
    let guard = start(Registry::open_or_create(&empty).await.unwrap()).await;
    assert_eq!(guard.claim(&used, NOW).await.unwrap(), Claim::Fresh);

    // A copy from before the first ceiling, put back after it.
    let restored = start(Registry::open(&copy).await.unwrap()).await;
    let refused = restored.claim(&used, NOW).await.unwrap();
    assert!(matches!(refused, Claim::TooOld { .. }), "{refused:?}");
}

#[tokio::test]
async fn only_the_last_who_took_the_ceiling_over_raises_it() {
    let folder = Folder::new();
    let (one, other) = (folder.registry().await, folder.registry().await);
    let owners = [Owner::random().unwrap(), Owner::random().unwrap()];
    let later = Timestamp::from_unix(NOW.unix() + 1);
    assert!(one.raise(owners[0], NOW).await.is_err(), "nobody has taken it over");
    one.take_over(owners[0]).await.unwrap();
    one.raise(owners[0], NOW).await.unwrap();
    // In the same process and in another.
    for registry in [&one, &other] {
        assert_eq!(registry.take_over(owners[1]).await.unwrap(), Some(NOW));
        let refused = one.raise(owners[0], later).await.unwrap_err();
        assert!(refused.to_string().contains("another server has taken over"), "{refused}");
        assert_eq!(registry.take_over(owners[0]).await.unwrap(), Some(NOW));
    }
    folder.raw("DELETE FROM replay_ceiling").await;
    assert!(one.raise(owners[0], later).await.is_err());
    assert_eq!(one.take_over(owners[1]).await.unwrap(), None);
}

#[tokio::test]
async fn two_servers_on_one_registry_do_not_both_accept_a_signature() {
    let folder = Folder::new();
    let guard = async |now| {
        let registry = Arc::new(folder.registry().await);
        MemoryNonces::durable(Window::default(), registry, now).await.unwrap()
    };
    let at = |seconds| Timestamp::from_unix(NOW.unix() + seconds);
    let used = |created| NonceUse::new(1, at(created), Nonce::from_random([7; 16]));
    let old = guard(NOW).await;
    assert_eq!(old.claim(&used(0), NOW).await.unwrap(), Claim::Fresh);
    let new = guard(NOW).await;
    for now in 0..60 {
        for created in now..now + 10 {
            let claims = [
                old.claim(&used(created), at(now)).await,
                new.claim(&used(created), at(now)).await,
            ];
            let fresh = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Fresh))).count();
            assert!(fresh <= 1, "{now} {created}: {claims:?}");
        }
    }
    assert!(old.claim(&used(60), at(60)).await.is_err());
    assert_eq!(new.claim(&used(70), at(60)).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_locked_registry_says_so_and_loses_nothing() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    let mut holder = SqliteConnection::connect(&folder.url()).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();
    let refused = registry.add_application("other", "live", NOW).await;
    assert!(matches!(refused, Err(RegistryError::File(FileError::Locked))), "{refused:?}");
    let owner = Owner::random().unwrap();
    assert!(registry.take_over(owner).await.is_err());
    assert!(registry.raise(owner, NOW).await.is_err());
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    registry.add_application("other", "live", NOW).await.unwrap();
    assert_eq!(applications(&registry).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_read_only_registry_says_so() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    // What a file system mounted read-only answers, as SQLite's own switch gives it.
    registry.add_application("before", "live", NOW).await.unwrap();
    drop(registry);
    let url = format!("{}?mode=ro", folder.url());
    let opened = SqliteConnection::connect(&url).await.unwrap();
    let error = sqlx::query("DELETE FROM application").execute(&mut { opened }).await.unwrap_err();
    assert!(matches!(RegistryError::from(error), RegistryError::File(FileError::ReadOnly)));
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = Folder::new();
    drop(with_key(&folder, &key(1)).await);
    folder
        .raw(
            "INSERT INTO _sqlx_migrations
             (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', 1, x'00', 0)",
        )
        .await;
    let refused = Registry::open(&folder.url()).await;
    assert!(matches!(refused, Err(RegistryError::NewerSchema)), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_another_program_is_left_byte_for_byte() {
    // (how it is made, whether its program still has it open)
    let table = [
        (&["CREATE TABLE note (text TEXT)"] as &[_], false),
        (&["CREATE TABLE note (text TEXT)", "PRAGMA application_id = 42"], false),
        (&["PRAGMA application_id = 42"], false),
        (&["PRAGMA user_version = 42"], false),
        (&["PRAGMA journal_mode = WAL"], false),
        (&["PRAGMA journal_mode = WAL", "CREATE TABLE note (text TEXT)"], false),
        // All but the header is still in its log.
        (&["PRAGMA journal_mode = WAL", "CREATE TABLE note (text TEXT)"], true),
        (&["CREATE TABLE application (id INTEGER)", "CREATE TABLE _sqlx_migrations (v)"], false),
        (
            &["CREATE TABLE note (text TEXT)", "DROP TABLE note", "CREATE VIEW one AS SELECT 1"],
            false,
        ),
    ];
    for (statements, held) in table {
        let folder = Folder::new();
        let url = format!("{}?mode=rwc", folder.url());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        for &statement in statements {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        let held = if held { Some(connection) } else { connection.close().await.ok().and(None) };
        let before = folder.content();
        for _ in 0..2 {
            let refused = Registry::open(&folder.url()).await;
            assert!(
                matches!(refused, Err(RegistryError::File(FileError::Foreign))),
                "{statements:?}: {refused:?}"
            );
            let refused = Registry::open_or_create(&folder.url()).await;
            assert!(
                matches!(refused, Err(RegistryError::File(FileError::Foreign))),
                "{statements:?}: {refused:?}"
            );
        }
        assert!(folder.content() == before, "{statements:?}");
        drop(held);
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_registry_where_one_is_asked_for() {
    for statement in [None, Some("VACUUM")] {
        let folder = Folder::new();
        fs::write(folder.file(), "").unwrap();
        if let Some(statement) = statement {
            folder.raw(statement).await;
        }
        let before = folder.content();
        let refused = Registry::open(&folder.url()).await;
        assert!(
            matches!(refused, Err(RegistryError::File(FileError::Empty))),
            "{statement:?}: {refused:?}"
        );
        assert!(folder.content() == before, "{statement:?}");
        drop(with_key(&folder, &key(1)).await);
        let registry = Registry::open(&folder.url()).await.unwrap();
        assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_a_registry_at_once_none_fails() {
    for _ in 0..5 {
        let folder = Folder::new();
        let opening: Vec<_> = (0..12)
            .map(|_| {
                let url = folder.url();
                tokio::spawn(async move { Registry::open_or_create(&url).await })
            })
            .collect();
        let mut registries = Vec::new();
        for opened in opening {
            registries.push(opened.await.unwrap().unwrap());
        }
        for (number, registry) in registries.iter().enumerate() {
            registry.add_application(&format!("shop{number}"), "live", NOW).await.unwrap();
        }
        assert_eq!(applications(registries.first().unwrap()).await.unwrap().len(), 12);
        let mode: String = folder.ask("PRAGMA journal_mode").await;
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn what_is_no_registry_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    fs::write(folder.file(), "this is no database, but somebody's notes\n".repeat(50)).unwrap();
    let before = fs::read(folder.file()).unwrap();
    let refused = Registry::open_or_create(&folder.url()).await;
    assert!(matches!(refused, Err(RegistryError::File(FileError::Damaged))), "{refused:?}");
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

#[tokio::test]
async fn a_file_or_folder_that_is_not_there_is_named() {
    let folder = Folder::new();
    let missing = Registry::open(&folder.url()).await;
    assert!(matches!(missing, Err(RegistryError::File(FileError::Missing))));
    assert!(!folder.file().exists());
    let nowhere = format!("sqlite:{}/no/such/folder/registry.sqlite", folder.0.path().display());
    let refused = Registry::open_or_create(&nowhere).await;
    assert!(matches!(refused, Err(RegistryError::File(FileError::CannotOpen(_)))), "{refused:?}");
    // What is in the way is not taken for nothing being there, as where there is no right to look.
    fs::write(folder.0.path().join("notes"), "").unwrap();
    for beyond in ["notes/registry.sqlite", ""] {
        let url = format!("sqlite:{}/{beyond}", folder.0.path().display());
        for refused in [Registry::open(&url).await, Registry::open_or_create(&url).await] {
            assert!(
                matches!(refused, Err(RegistryError::File(FileError::CannotOpen(_)))),
                "{beyond} {refused:?}"
            );
        }
    }
    let urls = [
        "",
        "registry.sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite:file:registry.sqlite",
        "sqlite:file:registry.sqlite?mode=memory",
        "sqlite://file:registry.sqlite",
        "mysql://localhost/x",
    ];
    for url in urls {
        let refused = Registry::open_or_create(url).await;
        assert!(matches!(refused, Err(RegistryError::UnsupportedUrl)), "{url}");
    }
}

#[cfg(unix)]
mod secrets {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    impl Folder {
        /// The files of the registry that are there, with their modes.
        fn modes(&self) -> BTreeMap<String, u32> {
            let files = fs::read_dir(self.0.path()).unwrap().map(Result::unwrap);
            let mode = |file: &fs::DirEntry| file.metadata().unwrap().permissions().mode() & 0o777;
            files.map(|file| (file.file_name().into_string().unwrap(), mode(&file))).collect()
        }

        fn set_mode(&self, suffix: &str, mode: u32) {
            let mut file = self.file().into_os_string();
            file.push(suffix);
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// With a secret whose bytes are easily found, which lies in the log as long as the registry is open.
    async fn with_secret(folder: &Folder) -> Registry {
        let registry = with_key(folder, &key(1)).await;
        let hmac = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
        let proven = ProvenKey::from(&hmac);
        registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
        registry
    }

    fn holds_secret(file: PathBuf) -> bool {
        fs::read(file).unwrap().windows(32).any(|bytes| bytes == SECRET)
    }

    #[tokio::test]
    async fn files_that_were_left_open_beside_a_registry_with_secrets_are_closed() {
        let folder = Folder::new();
        let server = with_secret(&folder).await;
        assert!(holds_secret(folder.0.path().join("registry.sqlite-wal")));
        // One after the other, as `chmod 600` on the registry alone leaves them, and all at once.
        for open in [&["-wal"][..], &["-shm"], &[""], &["", "-wal", "-shm"]] {
            for mode in [0o644, 0o640, 0o606, 0o666] {
                open.iter().for_each(|suffix| folder.set_mode(suffix, mode));
                let other = Registry::open(&folder.url()).await.unwrap();
                let modes = folder.modes();
                assert!(modes.values().all(|&mode| mode == 0o600), "{open:?} {modes:?}");
                assert_eq!(modes.len(), 3, "{modes:?}");
                let name = |suffix| folder.0.path().join(format!("registry.sqlite{suffix}"));
                let expected: Vec<_> = open.iter().copied().map(name).collect();
                assert_eq!(other.closed_files(), expected);
                other.close().await;
            }
        }
        // Both go on with it.
        server.add_application("other", "live", NOW).await.unwrap();
        let again = Registry::open_or_create(&folder.url()).await.unwrap();
        assert_eq!(again.closed_files(), &[] as &[PathBuf]);
        assert_eq!(applications(&again).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn files_that_are_closed_are_told_in_the_log_once() {
        let folder = Folder::new();
        drop(with_secret(&folder).await);
        let warnings = Arc::new(AtomicUsize::new(0));
        let _listening = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
        for (mode, told) in [(0o600, 0), (0o640, 1), (0o600, 1)] {
            if mode == 0o640 {
                folder.set_mode("", mode);
            }
            Registry::open(&folder.url()).await.unwrap().close().await;
            assert_eq!(warnings.load(Ordering::Relaxed), told, "{mode:o}");
        }
    }

    /// Counts the warnings that name files.
    struct Warnings(Arc<AtomicUsize>);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN && metadata.fields().field("files").is_some()
        }

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[tokio::test]
    async fn a_journal_that_others_can_read_is_closed_as_well() {
        let folder = Folder::new();
        let registry = with_secret(&folder).await;
        registry.close().await;
        // Not a hot one: SQLite leaves it alone, as it does a file that is not its own.
        fs::write(folder.0.path().join("registry.sqlite-journal"), []).unwrap();
        folder.set_mode("-journal", 0o644);
        let registry = Registry::open(&folder.url()).await.unwrap();
        let modes = folder.modes();
        assert!(modes.values().all(|&mode| mode == 0o600), "{modes:?}");
        drop(registry);
    }

    #[tokio::test]
    async fn a_link_to_a_registry_closes_what_lies_beside_the_registry() {
        let folder = Folder::new();
        let server = with_secret(&folder).await;
        let links = TempDir::new().unwrap();
        let link = links.path().join("link.db");
        std::os::unix::fs::symlink(folder.file(), &link).unwrap();
        ["", "-wal", "-shm"].iter().for_each(|suffix| folder.set_mode(suffix, 0o644));
        let other = Registry::open(&format!("sqlite:{}", link.display())).await.unwrap();
        assert_eq!(other.closed_files().len(), 3);
        assert!(folder.modes().values().all(|&mode| mode == 0o600));
        drop((server, other));
    }

    #[tokio::test]
    async fn a_registry_without_secrets_may_be_open_and_gets_none_until_all_its_files_are_closed() {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        ["", "-wal", "-shm"].iter().for_each(|suffix| folder.set_mode(suffix, 0o644));
        let other = Registry::open(&folder.url()).await.unwrap();
        assert_eq!(other.closed_files(), &[] as &[PathBuf]);
        assert!(folder.modes().values().all(|&mode| mode == 0o644));
        let hmac = PrivateKey::hmac_sha256([1; 16], SECRET).unwrap();
        let proven = ProvenKey::from(&hmac);
        for suffix in ["", "-wal", "-shm"] {
            let new = NewCredential::new("shop", "", &proven);
            let refused = registry.add_credential(new, NOW).await;
            let Err(RegistryError::File(FileError::Exposed { files })) = refused else {
                panic!("{refused:?}")
            };
            assert!(files[0].ends_with(format!("registry.sqlite{suffix}")), "{files:?}");
            folder.set_mode(suffix, 0o600);
        }
        assert!(!holds_secret(folder.0.path().join("registry.sqlite-wal")));
        registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
    }

    #[tokio::test]
    async fn what_sqlite_makes_later_has_the_mode_of_the_registry() {
        for mode in [0o600, 0o640] {
            let folder = Folder::new();
            let registry = with_key(&folder, &key(1)).await;
            registry.close().await;
            folder.set_mode("", mode);
            let registry = Registry::open(&folder.url()).await.unwrap();
            registry.add_application("other", "live", NOW).await.unwrap();
            let modes = folder.modes();
            assert_eq!(modes.len(), 3);
            assert!(modes.values().all(|&is| is == mode), "{mode:o} {modes:?}");
        }
    }
}

#[tokio::test]
async fn parameters_of_an_address_are_heeded_or_refused_and_make_no_file() {
    let folder = Folder::new();
    let with = |parameters: &str| format!("{}?{parameters}", folder.url());
    for refused in [
        Registry::open_or_create(&with("mode=rw")).await,
        Registry::open_or_create(&with("mode=ro")).await,
        Registry::open_or_create(&with("cache=shared")).await,
        Registry::open(&with("mode=rwc")).await,
    ] {
        assert!(refused.is_err());
        assert_eq!(folder.content(), BTreeMap::new());
    }
    let made = Registry::open_or_create(&with("mode=rwc")).await.unwrap();
    made.add_application("shop", "live", NOW).await.unwrap();
    made.close().await;
    assert_eq!(folder.content().into_keys().collect::<Vec<_>>(), [folder.file()]);
    let before = folder.content();
    for ro in
        [Registry::open(&with("mode=ro")).await, Registry::open_or_create(&with("mode=ro")).await]
    {
        assert!(matches!(ro, Err(RegistryError::ReadOnlyMode)), "{ro:?}");
    }
    assert_eq!(folder.content(), before);
    for url in [folder.url(), with("mode=rw"), with("mode=rwc")] {
        for registry in [Registry::open(&url).await, Registry::open_or_create(&url).await] {
            assert_eq!(applications(&registry.unwrap()).await.unwrap().len(), 1, "{url}");
        }
    }
    // A registry that was made under a name with parameters is not taken for one that is not there.
    fs::rename(folder.file(), folder.0.path().join("registry.sqlite?mode=rwc")).unwrap();
    let refused = Registry::open_or_create(&with("mode=rwc")).await;
    assert!(matches!(refused, Err(RegistryError::NamedByParameters)), "{refused:?}");
    assert!(!folder.file().exists());
}

#[tokio::test]
async fn a_damaged_application_is_listed_as_damaged_and_hides_no_other() {
    for (damage, name, environment) in [
        ("UPDATE application SET name = CAST(x'FF' AS TEXT) WHERE id = 1", None, Some("live")),
        (
            "UPDATE application SET environment = CAST(x'FF' AS TEXT) WHERE id = 1",
            Some("shop"),
            None,
        ),
    ] {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        registry.add_application("other", "live", NOW).await.unwrap();
        let proven = ProvenKey::from(&key(2));
        let new = NewCredential::new("other", "", &proven);
        registry.add_credential(new, NOW).await.unwrap();
        folder.raw(damage).await;

        let listed = applications(&registry).await.unwrap();
        let whole: Vec<_> = listed.iter().flatten().collect();
        assert_eq!(whole, [&registry.application("other").await.unwrap()], "{damage}");
        assert_eq!(listed.len(), 2, "{damage}");
        let damaged = listed.iter().find_map(|one| one.as_ref().err()).unwrap();
        assert_eq!((damaged.id, damaged.name.as_deref()), (1, name), "{damage}");
        assert_eq!(damaged.environment.as_deref(), environment, "{damage}");
        assert_eq!(damaged.to_string(), "application 1 is damaged: one of its columns");

        let shown = registry.application("shop").await;
        let of_shop = credentials(&registry, Some("shop")).await;
        match name {
            Some(_) => {
                let told = matches!(shown, Err(RegistryError::DamagedApplication { id: 1, .. }));
                assert!(told, "{shown:?}");
                assert!(matches!(of_shop.unwrap().as_slice(), [Err(_)]), "{damage}");
            }
            None => {
                assert!(matches!(shown, Err(RegistryError::NotFound(_))), "{shown:?}");
                assert!(matches!(of_shop, Err(RegistryError::NotFound(_))), "{of_shop:?}");
            }
        }
        let all = credentials(&registry, None).await.unwrap();
        assert!(matches!(all.as_slice(), [Err(_), Ok(_)]), "{all:?}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_listed_as_damaged_and_hides_no_other() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    for seed in [2, 3] {
        let proven = ProvenKey::from(&key(seed));
        let new = NewCredential::new("shop", "other", &proven);
        registry.add_credential(new, NOW).await.unwrap();
    }
    let thumbprint = KeyId::Thumbprint(key(2).verifying_key().thumbprint().unwrap());
    let damages = [
        ("scopes = 'a,b'", "its scopes", Some(id(&key(2))), Some("other")),
        ("restrictions = '{}'", "its restrictions", Some(id(&key(2))), Some("other")),
        ("publishable_key = 'pk_damaged'", "its key", Some(thumbprint), Some("other")),
        ("publishable_key = 'x', thumbprint = 'y'", "its key", None, Some("other")),
        ("label = CAST(x'FF' AS TEXT)", "one of its columns", Some(id(&key(2))), None),
    ];
    let whole =
        folder.ask_row("SELECT publishable_key, thumbprint FROM credential WHERE id = 2").await;
    for (damage, what, key_id, label) in damages {
        folder.set(2, damage).await;
        for application in [None, Some("shop")] {
            let listed = credentials(&registry, application).await.unwrap();
            let [first, damaged, third] = listed.as_slice() else { panic!("{listed:?}") };
            assert_eq!(first.as_ref().unwrap().publishable_key(), key(1).publishable_key());
            assert_eq!(third.as_ref().unwrap().publishable_key(), key(3).publishable_key());
            let damaged = damaged.as_ref().unwrap_err();
            let said = matches!(&damaged.error, RegistryError::DamagedCredential { id: 2, what: said, .. } if *said == what);
            assert!(said, "{damage}: {damaged}");
            assert_eq!((damaged.id.get(), damaged.key), (2, key_id), "{damage}");
            assert_eq!(damaged.label.as_deref(), label, "{damage}");
            assert_eq!(damaged.application.as_ref().unwrap().name, "shop");
        }
        let mend = format!(
            "publishable_key = '{}', thumbprint = '{}', scopes = '', label = 'other',
             restrictions = '{{\"version\":1,\"restrictions\":[]}}'",
            whole.0, whole.1
        );
        folder.set(2, &mend).await;
        assert!(credentials(&registry, None).await.unwrap().iter().all(Result::is_ok));
    }
}

/// Ways to damage the application of the first credential, all of which leave its name.
const DAMAGED_APPLICATIONS: [&str; 4] = [
    "UPDATE application SET environment = CAST(x'FF' AS TEXT) WHERE id = 1",
    "UPDATE application SET environment = 'live' || char(10) WHERE id = 1",
    "UPDATE application SET environment = '' WHERE id = 1",
    "UPDATE application SET created_at = -1 WHERE id = 1",
];

const MENDED_APPLICATION: &str =
    "UPDATE application SET name = 'shop', environment = 'live', created_at = 1 WHERE id = 1";

#[tokio::test]
async fn a_damaged_application_is_not_changed_and_gets_no_credential() {
    for damage in DAMAGED_APPLICATIONS {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        folder.raw(damage).await;
        let proven = ProvenKey::from(&key(2));
        let added = registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await;
        let refused = matches!(added, Err(RegistryError::DamagedApplication { id: 1, .. }));
        assert!(refused, "{damage}: {added:?}");
        let again = registry.add_application("shop", "live", NOW).await;
        assert!(matches!(again, Err(RegistryError::Exists(_))), "{damage}: {again:?}");
        let changed = registry
            .change_credential(&id(&key(1)), NOW, |settings| {
                settings.scopes.insert("read".parse().unwrap());
            })
            .await;
        let refused = matches!(
            changed,
            Err(RegistryError::DamagedCredential { id: 1, what: "its application", .. })
        );
        assert!(refused, "{damage}: {changed:?}");
        assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none(), "{damage}");

        folder.raw("UPDATE credential SET state = 'revoked'").await;
        let removed = registry.remove_application("shop", NOW).await;
        let refused = matches!(removed, Err(RegistryError::DamagedApplication { id: 1, .. }));
        assert!(refused, "{damage}: {removed:?}");
        folder.raw("UPDATE credential SET state = 'active'").await;

        folder.raw(MENDED_APPLICATION).await;
        let listed = credentials(&registry, Some("shop")).await.unwrap();
        let [Ok(only)] = listed.as_slice() else { panic!("{damage}: {listed:?}") };
        assert_eq!(only.publishable_key(), key(1).publishable_key(), "{damage}");
        assert_eq!(only.scopes.iter().count(), 0, "{damage}");
        registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
    }
}

#[tokio::test]
async fn a_revocation_is_effective_although_its_application_is_damaged() {
    let gone = "PRAGMA foreign_keys = OFF; UPDATE credential SET application_id = 99";
    for damage in DAMAGED_APPLICATIONS.into_iter().chain([gone]) {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_some());
        folder.raw(damage).await;
        for _ in 0..2 {
            let revoked = registry.revoke(&id(&key(1)), None, NOW).await;
            let told = matches!(
                revoked,
                Err(RegistryError::DamagedCredential { id: 1, what: "its application", .. })
            );
            assert!(told, "{damage}: {revoked:?}");
            assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none(), "{damage}");
        }
        folder.raw("UPDATE credential SET application_id = 1").await;
        folder.raw(MENDED_APPLICATION).await;
        let mended = registry.credential(&id(&key(1))).await.unwrap();
        assert_eq!((mended.state, mended.revoked_at), (State::Revoked, Some(NOW)), "{damage}");
    }
}

#[tokio::test]
async fn a_credential_without_its_application_is_listed_as_damaged() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    folder.raw("PRAGMA foreign_keys = OFF; UPDATE credential SET application_id = 99").await;
    let listed = credentials(&registry, None).await.unwrap();
    let [Err(damaged)] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(damaged.to_string(), "credential 1 is damaged: its application");
    assert_eq!((damaged.key, damaged.application.as_ref()), (Some(id(&key(1))), None));
    let shown = registry.credential(&id(&key(1))).await;
    assert!(matches!(shown, Err(RegistryError::DamagedCredential { id: 1, .. })), "{shown:?}");
}

#[tokio::test]
async fn a_name_that_could_not_have_been_registered_is_never_shown_as_one() {
    for name in ["'shop' || char(0)", "'shop' || char(27) || '[2J'", "''", "'Łódź'"] {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        let rename = format!("UPDATE application SET name = {name}");
        let mut connection = SqliteConnection::connect(&folder.url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(rename)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let listed = applications(&registry).await.unwrap();
        assert!(matches!(listed.as_slice(), [Err(_)]), "{name}: {listed:?}");
        let listed = credentials(&registry, None).await.unwrap();
        let [Err(damaged)] = listed.as_slice() else { panic!("{name}: {listed:?}") };
        assert_eq!(damaged.to_string(), "credential 1 is damaged: its application", "{name}");
        assert!(damaged.application.is_none(), "{name}");
        assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_damaged_credential_is_neither_used_nor_changed() {
    let damages = [
        ("label = 'a' || char(10)", "its label"),
        ("label = CAST(x'FF' AS TEXT)", "one of its columns"),
        ("created_at = -1", "one of its columns"),
        ("expires_at = -1", "one of its columns"),
        ("state = 'revoked', revoked_at = -1", "one of its columns"),
        ("thumbprint = 'y'", "its key"),
        ("scopes = 'a,b'", "its scopes"),
    ];
    for (damage, what) in damages {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        folder.set(1, damage).await;
        let before: String = folder.ask("SELECT restrictions FROM credential").await;
        let damaged = |refused: Result<_, RegistryError>| matches!(refused, Err(RegistryError::DamagedCredential { id: 1, what: said, .. }) if said == what);
        assert!(damaged(registry.credential(&id(&key(1))).await.map(drop)), "{damage}");
        let changed =
            registry.change_credential(&id(&key(1)), NOW, |_| panic!("it is damaged")).await;
        assert!(damaged(changed.map(drop)), "{damage}");
        assert_eq!(folder.ask("SELECT restrictions FROM credential").await, before);
        assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none(), "{damage}");
        let proven = ProvenKey::from(&key(1));
        let again = registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await;
        assert!(matches!(again, Err(RegistryError::Exists(_))), "{damage}: {again:?}");
        assert!(damaged(registry.revoke(&id(&key(1)), None, NOW).await.map(drop)), "{damage}");
        let state: String = folder.ask("SELECT state FROM credential").await;
        assert_eq!(state, "revoked", "{damage}");
    }
}

#[tokio::test]
async fn the_changes_of_a_registry_can_be_made_by_a_task_of_its_own() {
    let folder = Folder::new();
    let registry = Arc::new(folder.registry().await);
    let task = tokio::spawn(async move {
        registry.add_application("shop", "live", NOW).await?;
        let proven = ProvenKey::from(&key(1));
        registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await?;
        registry.change_credential(&id(&key(1)), NOW, |_| {}).await?;
        registry.revoke(&id(&key(1)), None, NOW).await?;
        registry.remove_application("shop", NOW).await
    });
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_log_says_why_a_damaged_credential_is_refused() {
    let folder = Folder::new();
    let registry = with_key(&folder, &key(1)).await;
    folder.set(1, "restrictions = '{}'").await;
    let errors = Arc::new(Mutex::new(Vec::new()));
    let _listening = tracing::subscriber::set_default(Errors(Arc::clone(&errors)));
    assert!(registry.find(&id(&key(1)), NOW).await.unwrap().is_none());
    let errors = errors.lock().unwrap();
    let [said, cause] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(said, "credential 1 is damaged: its restrictions");
    assert!(cause.contains("version"), "{cause}");
}

/// Collects the errors that are logged, each followed by its causes.
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &*self);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for &Errors {
    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}

    fn record_error(&mut self, _: &tracing::field::Field, error: &(dyn Error + 'static)) {
        let errors = std::iter::successors(Some(error), |&error| error.source());
        self.0.lock().unwrap().extend(errors.map(ToString::to_string));
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_revoked_by_its_thumbprint() {
    for damage in ["publishable_key = 'pk_damaged'", "publishable_key = CAST(x'FF' AS TEXT)"] {
        let folder = Folder::new();
        let registry = with_key(&folder, &key(1)).await;
        folder.set(1, damage).await;
        let thumbprint = KeyId::Thumbprint(key(1).verifying_key().thumbprint().unwrap());
        let revoked = registry.revoke(&thumbprint, None, NOW).await;
        let told = matches!(revoked, Err(RegistryError::DamagedCredential { id: 1, .. }));
        assert!(told, "{damage}: {revoked:?}");
        let state: String = folder.ask("SELECT state FROM credential").await;
        assert_eq!(state, "revoked", "{damage}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_over_the_registry_stops_those_who_have_the_old_one_open() {
    let folder = Folder::new();
    let registry = Registry::open_or_create(&folder.url()).await.unwrap();
    let registry = registry.stale_for(Duration::from_secs(1));
    let key = PrivateKey::ed25519(&[1; 32]);
    registry.add_application("shop", "live", NOW).await.unwrap();
    let proven = ProvenKey::from(&key);
    registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await.unwrap();
    let id = KeyId::Publishable(key.publishable_key());
    let owner = Owner::random().unwrap();
    registry.take_over(owner).await.unwrap();
    assert!(registry.find(&id, NOW).await.unwrap().is_some());

    // As whoever restores a backup, or moves the file, and leaves the servers running.
    let moved = folder.file().with_extension("moved");
    for restored in [false, true] {
        match restored {
            false => fs::rename(folder.file(), &moved).unwrap(),
            true => drop(fs::copy(&moved, folder.file()).unwrap()),
        }
        let refused = registry.revoke(&id, None, NOW).await;
        assert!(
            matches!(refused, Err(RegistryError::File(FileError::Replaced))),
            "a revocation that nobody sees: {refused:?}"
        );
        assert!(registry.raise(owner, NOW).await.is_err(), "a ceiling that nobody finds");
        assert!(registry.find(&KeyId::Thumbprint([7; 32]), NOW).await.is_err());
        // Known keys are accepted for as long as without any database.
        while registry.find(&id, NOW).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // The same file again.
    fs::rename(&moved, folder.file()).unwrap();
    assert!(registry.find(&id, NOW).await.unwrap().is_some());
    registry.revoke(&id, None, NOW).await.unwrap();
}
