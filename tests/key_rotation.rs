//! A program rotates the key in its file: over crashes, beside other programs, and while it sends requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode};
use countersign::{Code, KeyFile, Passphrase, PrivateKey, ProvenKey, PublishableKey, with_reasons};
use countersign_client::{Client, OwnKey, OwnKeyError, OwnRevocation, Refusal, Rotated};
use countersign_server::{HolderRoutes, serve};
use serde_json::json;
use tokio::net::TcpListener;

use crate::holder::{DAY, Holder, hmac, key, rotation};

/// A program with the key 1 in a file.
struct Program {
    holder: Holder,
    file: PathBuf,
}

impl Program {
    async fn start() -> Self {
        Self::of(Holder::start().await)
    }

    fn of(holder: Holder) -> Self {
        let file = holder.folder.path().join("id.key");
        let program = Self { holder, file };
        program.write("", &key(1).expose_pkcs8_pem().unwrap());
        program
    }

    /// Writes the key file, or the file beside it that ends like this.
    fn write(&self, end: &str, content: &str) {
        let file = self.beside(end);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn beside(&self, end: &str) -> PathBuf {
        PathBuf::from(format!("{}{end}", self.file.display()))
    }

    fn own(&self) -> OwnKey {
        let clock = self.holder.clock.clone();
        OwnKey::new(&self.file, self.holder.endpoint()).unwrap().client_with(move |key| {
            let clock = clock.clone();
            Ok(Client::new(key)?.clock(move || clock.now()))
        })
    }

    fn read(&self, end: &str, passphrase: Option<&Passphrase>) -> PrivateKey {
        let content = fs::read(self.beside(end)).unwrap();
        KeyFile::parse(&content, passphrase).unwrap().into_private().unwrap()
    }

    /// The key in the file works, all that is beside it belongs to it, and nothing is left of the rotation.
    async fn is_whole(&self, expected: PublishableKey) {
        let mut files: Vec<_> = fs::read_dir(self.holder.folder.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("id.key"))
            .collect();
        files.sort();
        assert_eq!(files, ["id.key", "id.key.lock", "id.key.pub"]);
        assert_eq!(self.read("", None).publishable_key(), expected);
        let mode = |end| fs::metadata(self.beside(end)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode(".pub") & 0o600), (0o600, 0o600));
        let proof = fs::read_to_string(self.beside(".pub")).unwrap();
        let proven = ProvenKey::from_proof(&proof).unwrap();
        assert_eq!(proven.key().publishable_key(), expected);
        assert_eq!(self.holder.order(self.read("", None)).await, Ok(()));
    }
}

#[tokio::test]
async fn a_key_is_replaced_at_the_server_and_in_its_file() {
    let program = Program::start().await;
    let rotated = program.own().rotate().await.unwrap();
    assert_eq!(rotated.old, key(1).publishable_key());
    let end = program.holder.clock.now().plus(Duration::from_secs(DAY));
    assert_eq!(rotated.old_ends_at, Some(end));
    program.is_whole(rotated.new).await;
    assert_eq!(program.holder.order(key(1)).await, Ok(()), "until the overlap ends");
    let next = program.own().overlap(Duration::ZERO).rotate().await.unwrap();
    assert_eq!(next.old, rotated.new);
    program.is_whole(next.new).await;
}

#[tokio::test]
async fn a_key_file_that_is_a_link_stays_one() {
    let program = Program::start().await;
    let link = program.holder.folder.path().join("link");
    std::os::unix::fs::symlink(&program.file, &link).unwrap();
    let own = OwnKey::new(&link, program.holder.endpoint()).unwrap();
    let clock = program.holder.clock.clone();
    let own = own.client_with(move |key| {
        let clock = clock.clone();
        Ok(Client::new(key)?.clock(move || clock.now()))
    });
    let rotated = own.rotate().await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    program.is_whole(rotated.new).await;
}

#[tokio::test]
async fn the_new_file_has_the_form_of_the_old_one() {
    let passphrase = || Passphrase::new("correct horse");
    let encrypted = key(1).encrypt_pkcs8_pem(&passphrase(), [9; 32]).unwrap();
    let text = key(1).expose_text();
    let table = [
        (&*key(1).expose_pkcs8_pem().unwrap(), "-----BEGIN PRIVATE KEY-----\n"),
        (&*encrypted, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
        (&*text, "sk_"),
    ];
    for (content, begins) in table {
        let program = Program::start().await;
        program.write("", content);
        let is_encrypted = begins.contains("ENCRYPTED");
        if is_encrypted {
            let error = program.own().rotate().await.unwrap_err();
            assert!(matches!(error, OwnKeyError::Client(_)), "{error:?}");
        }
        let rotated = program.own().passphrase(passphrase()).rotate().await.unwrap();
        let found = fs::read_to_string(&program.file).unwrap();
        assert!(found.starts_with(begins), "{found}");
        let passphrase = passphrase();
        let key = program.read("", is_encrypted.then_some(&passphrase));
        assert_eq!(key.publishable_key(), rotated.new);
        assert_eq!(program.holder.order(key).await, Ok(()));
    }
}

/// What a crash leaves behind.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// While the new key was written to the disk.
    WhileWriting,
    /// After it was on the disk, and before the server got the request.
    BeforeAsking,
    /// After the server had let it take over, and before the response.
    AfterAsking { overlap: u64 },
    /// As that, and it was run again after the old key had ended.
    AfterTheEnd,
    /// After the public half had been written.
    BeforeTheSwap,
}

#[tokio::test]
async fn a_run_after_a_crash_goes_on_from_there() {
    let crashes = [
        Crash::WhileWriting,
        Crash::BeforeAsking,
        Crash::AfterAsking { overlap: DAY },
        Crash::AfterAsking { overlap: 0 },
        Crash::AfterTheEnd,
        Crash::BeforeTheSwap,
    ];
    for crash in crashes {
        let program = Program::start().await;
        let next = key(2);
        let pem = next.expose_pkcs8_pem().unwrap();
        let ask = async |overlap| {
            let content = rotation(&next, overlap);
            assert_eq!(program.holder.ask(key(1), "/rotation", content).await.0, 201);
        };
        match crash {
            Crash::WhileWriting => program.write(".next.part", &pem[..40]),
            _ => program.write(".next", &pem),
        }
        match crash {
            Crash::WhileWriting | Crash::BeforeAsking => {}
            Crash::AfterAsking { overlap } => ask(overlap).await,
            Crash::AfterTheEnd => {
                ask(DAY).await;
                program.holder.clock.set(i64::try_from(DAY).unwrap());
            }
            Crash::BeforeTheSwap => {
                ask(DAY).await;
                program.write(".pub", &ProvenKey::proof(&next).unwrap());
            }
        }
        let rotated = program.own().rotate().await.unwrap();
        assert_eq!(rotated.old, key(1).publishable_key());
        match crash {
            Crash::WhileWriting => assert_ne!(rotated.new, next.publishable_key()),
            _ => assert_eq!(rotated.new, next.publishable_key(), "{crash:?}"),
        }
        program.is_whole(rotated.new).await;
    }
}

#[tokio::test]
async fn a_run_that_is_broken_off_at_any_point_can_be_run_again() {
    let program = Program::start().await;
    let begun = Instant::now();
    program.own().rotate().await.unwrap();
    let whole = begun.elapsed();
    for round in 0..40_u32 {
        let own = program.own().overlap(Duration::from_secs(u64::from(round) % 2 * DAY));
        let run = tokio::spawn(async move { own.rotate().await });
        // Wherever it is by then.
        tokio::time::sleep(whole.mul_f64(f64::from(round * 7 % 40) / 35.0)).await;
        run.abort();
        drop(run.await);
    }
    let rotated = program.own().rotate().await.unwrap();
    program.is_whole(rotated.new).await;
}

#[tokio::test]
async fn two_programs_with_one_file_take_turns() {
    let program = Program::start().await;
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let own = program.own();
            tokio::spawn(async move { own.rotate().await.unwrap() })
        })
        .collect();
    let mut rotated: Vec<Rotated> = Vec::new();
    for run in runs {
        rotated.push(run.await.unwrap());
    }
    // Each replaced the key of another, and one is left.
    let mut last = key(1).publishable_key();
    for _ in 0..rotated.len() {
        last = rotated.iter().find(|one| one.old == last).unwrap().new;
    }
    program.is_whole(last).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_rotated_stays_as_it_is() {
    let program = Program::start().await;
    let content = fs::read(&program.file).unwrap();
    let refused = |error| match error {
        OwnKeyError::Refused(refusal) => refusal.code,
        error => panic!("{error:?}"),
    };
    // From a copy of the file.
    assert_eq!(program.holder.rotate(1, 5, DAY).await.0, 201);
    let error = program.own().rotate().await.unwrap_err();
    assert_eq!(refused(error), Code::KeyConflict);
    // It has ended, and the next key never got as far as the server.
    program.holder.clock.set(i64::try_from(DAY).unwrap());
    let error = program.own().rotate().await.unwrap_err();
    assert_eq!(refused(error), Code::KeyExpired);
    assert_eq!(fs::read(&program.file).unwrap(), content);
    // There is no such endpoint.
    let elsewhere = OwnKey::new(&program.file, format!("{}/none", program.holder.origin)).unwrap();
    let clock = program.holder.clock.clone();
    program.write("", &key(5).expose_pkcs8_pem().unwrap());
    let elsewhere = elsewhere.client_with(move |key| {
        let clock = clock.clone();
        Ok(Client::new(key)?.clock(move || clock.now()))
    });
    let error = elsewhere.rotate().await.unwrap_err();
    assert!(matches!(error, OwnKeyError::NoEndpoint(status) if status == 404), "{error:?}");
    program.write("", &format!("{}\n", *hmac().expose_text()));
    let error = program.own().rotate().await.unwrap_err();
    assert!(matches!(error, OwnKeyError::Secret), "{error:?}");
    for url in ["http://api.example.com/v1/key", "http://192.0.2.1/", "ftp://localhost/"] {
        let error = OwnKey::new(&program.file, url).unwrap_err();
        assert!(matches!(error, OwnKeyError::PlainHttp), "{url}: {error:?}");
    }
}

/// Logs show URLs.
#[tokio::test]
async fn a_password_in_the_url_of_the_endpoint_is_refused_and_shown_nowhere() {
    let program = Program::start().await;
    for user in ["me:hunter2@", "hunter2@", ":hunter2@"] {
        for origin in ["https://HOST.example/v1/key", "http://HOST127.0.0.1/"] {
            let url = origin.replace("HOST", user);
            let error = OwnKey::new(&program.file, &url).unwrap_err();
            assert!(matches!(error, OwnKeyError::UserInfo), "{url}: {error:?}");
            assert!(!format!("{error:?} {}", with_reasons(&error)).contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn what_does_not_confirm_the_new_key_costs_no_key() {
    let program = Program::start().await;
    let content = fs::read(&program.file).unwrap();
    let credential = |key: &PrivateKey| {
        json!({
            "publishable_key": key.publishable_key().to_string(), "application": "shop", "environment": "live",
            "label": "", "state": "active", "created_at": 1,
        })
    };
    let confirmed = json!({ "new": credential(&key(5)), "old": credential(&key(1)) });
    let of_another = json!({ "new": credential(&key(2)), "old": credential(&key(5)) });
    let answers = [
        (201, confirmed.to_string()),
        (201, of_another.to_string()),
        (201, "{}".to_owned()),
        (200, "<html>".to_owned()),
        (200, String::new()),
        (200, "[".repeat(100_000)),
        (302, json!({ "new": credential(&key(2)), "old": credential(&key(1)) }).to_string()),
        (500, json!({ "new": credential(&key(2)), "old": credential(&key(1)) }).to_string()),
    ];
    program.write(".next", &key(2).expose_pkcs8_pem().unwrap());
    for (status, answer) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/key", listener.local_addr().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        let app = Router::new().fallback(async move || (status, answer));
        let serving = tokio::spawn(serve(listener, app, std::future::pending()));
        let own = OwnKey::new(&program.file, endpoint).unwrap();
        let error = own.rotate().await.unwrap_err();
        assert!(matches!(error, OwnKeyError::NoEndpoint(_)), "{status}: {error:?}");
        assert_eq!(fs::read(&program.file).unwrap(), content);
        assert_eq!(program.read(".next", None).publishable_key(), key(2).publishable_key());
        serving.abort();
    }
}

/// Where a file is mounted on another. Unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    /// `None` if this user may mount nothing.
    fn onto(file: PathBuf) -> Option<Self> {
        let mount = Command::new("mount").arg("--bind").arg(&file).arg(&file).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(file))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().unwrap();
    }
}

/// As a secret that is mounted into a container by itself.
#[tokio::test]
async fn a_key_file_that_is_mounted_by_itself_costs_no_key() {
    let program = Program::start().await;
    let Some(mount) = Mount::onto(program.file.clone()) else { return };
    let error = program.own().rotate().await.unwrap_err();
    assert!(matches!(error, OwnKeyError::Irreplaceable { .. }), "{error:?}");
    assert!(!program.beside(".next").exists() && !program.beside(".next.part").exists());
    drop(mount);
    // The server was asked for nothing: it would confirm no second key.
    let rotated = program.own().rotate().await.unwrap();
    program.is_whole(rotated.new).await;
}

#[tokio::test]
async fn a_file_of_another_user_is_not_replaced_by_one_that_he_cannot_read() {
    let program = Program::start().await;
    // Only root can give a file away.
    if chown(&program.file, Some(12345), None).is_ok() {
        let error = program.own().rotate().await.unwrap_err();
        assert!(matches!(error, OwnKeyError::Owner { .. }), "{error:?}");
        assert!(!program.beside(".next").exists() && !program.beside(".next.part").exists());
    }
}

#[tokio::test]
async fn a_key_is_rotated_when_the_server_says_that_it_is_time_and_not_before() {
    let program = Program::start().await;
    let age = i64::try_from(90 * DAY).unwrap();
    program.holder.clock.set(age - 1);
    assert_eq!(program.own().rotate_if_due().await.unwrap(), None);
    program.holder.clock.set(age);
    let rotated = program.own().rotate_if_due().await.unwrap().unwrap();
    program.is_whole(rotated.new).await;
    assert_eq!(program.own().rotate_if_due().await.unwrap(), None);
    // What an earlier run has begun is ended at any time.
    program.write(".next", &key(2).expose_pkcs8_pem().unwrap());
    let rotated = program.own().rotate_if_due().await.unwrap().unwrap();
    assert_eq!(rotated.new, key(2).publishable_key());
    program.is_whole(rotated.new).await;
}

#[tokio::test]
async fn a_holder_revokes_the_key_in_its_file_once() {
    let program = Program::start().await;
    let own = program.own();
    let credential = own.credential().await.unwrap();
    assert_eq!((&*credential.application, &*credential.state), ("shop", "active"));
    let OwnRevocation::Revoked(revoked) = own.revoke(Some("lost")).await.unwrap() else { panic!() };
    assert_eq!(revoked.state, "revoked");
    assert!(matches!(own.revoke(None).await.unwrap(), OwnRevocation::WasRevoked));
    assert_eq!(program.holder.order(key(1)).await, Err(Code::KeyRevoked));
}

/// The rotations of clients that rotate by themselves, and why one failed.
#[derive(Clone, Debug, Default)]
struct Rotations {
    made: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl Rotations {
    fn of(&self, own: OwnKey) -> OwnKey {
        let Self { made, failed } = self.clone();
        own.on_rotation(move |outcome| match outcome {
            Ok(_) => drop(made.fetch_add(1, Ordering::SeqCst)),
            Err(error) => failed.lock().unwrap().push(with_reasons(error)),
        })
    }

    /// How many were made. None failed.
    fn made(&self) -> usize {
        assert_eq!(*self.failed.lock().unwrap(), [""; 0]);
        self.made.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_rotate_their_key_under_load_lose_no_request() {
    const ENOUGH: usize = 6;
    // Every key is to be rotated at once, and the old one ends at once: it is luck if a request arrives in time.
    let set = |holder: HolderRoutes<_>| holder.rotation_age(Some(Duration::ZERO));
    let program = Program::of(Holder::start_with(set).await);
    let rotations = Rotations::default();
    let client = || {
        let own = program.own().overlap(Duration::ZERO).check_every(Duration::ZERO);
        Client::rotating(rotations.of(own)).unwrap()
    };
    // Two processes with one file.
    let clients = [client(), client()];
    let url = format!("{}/v1/orders", program.holder.origin);
    let mut sending = Vec::new();
    for number in 0..8 {
        let (client, url, rotations) =
            (clients[number % 2].clone(), url.clone(), rotations.clone());
        sending.push(tokio::spawn(async move {
            let mut sent = 0;
            while rotations.made() < ENOUGH || sent < 20 {
                let response = client.post(&url).body("{}").send().await.unwrap();
                let status = response.status();
                let refusal = Refusal::check(response).await.err();
                assert_eq!((status.as_u16(), refusal), (200, None));
                sent += 1;
            }
            sent
        }));
    }
    let mut sent = 0;
    for task in sending {
        sent += tokio::time::timeout(Duration::from_secs(120), task).await.unwrap().unwrap();
    }
    assert_eq!(program.holder.orders.load(Ordering::SeqCst), sent);
}

#[tokio::test]
async fn a_client_signs_with_the_key_that_the_server_has_confirmed_also_if_the_file_has_the_old_one()
 {
    let program = Program::start().await;
    program.holder.clock.set(i64::try_from(90 * DAY).unwrap());
    // `FILE.pub` cannot be written, which is noticed after the server has replaced the key.
    fs::create_dir(program.beside(".pub")).unwrap();
    fs::write(program.beside(".pub/x"), "").unwrap();
    let rotations = Rotations::default();
    let own = program.own().overlap(Duration::ZERO).check_every(Duration::ZERO);
    let client = Client::rotating(rotations.of(own)).unwrap();
    let url = format!("{}/v1/orders", program.holder.origin);
    let order = async || client.post(&url).body("{}").send().await.unwrap().status();
    let failures = || rotations.failed.lock().unwrap().len();
    while failures() < 3 {
        assert_eq!(order().await, 200);
    }
    let next = program.read(".next", None).publishable_key();
    assert_eq!(client.publishable_key(), next);
    assert_eq!(program.read("", None).publishable_key(), key(1).publishable_key());
    fs::remove_dir_all(program.beside(".pub")).unwrap();
    while rotations.made.load(Ordering::SeqCst) == 0 {
        assert_eq!(order().await, 200);
    }
    program.is_whole(next).await;
}

#[tokio::test]
async fn a_client_takes_the_key_of_another_program_when_its_own_has_ended() {
    let program = Program::start().await;
    let url = format!("{}/v1/orders", program.holder.origin);
    let rotations = Rotations::default();
    let client = Client::rotating(rotations.of(program.own())).unwrap();
    let order = async || client.post(&url).body("{}").send().await.unwrap();
    assert_eq!(order().await.status(), 200);
    let rotated = program.own().overlap(Duration::ZERO).rotate().await.unwrap();
    assert_eq!(client.publishable_key(), rotated.old);
    assert_eq!(order().await.status(), 200);
    assert_eq!(client.publishable_key(), rotated.new);
    // The other program has crashed half-way.
    program.write(".next", &key(2).expose_pkcs8_pem().unwrap());
    let content = rotation(&key(2), 0);
    assert_eq!(program.holder.ask(program.read("", None), "/rotation", content).await.0, 201);
    assert_eq!(order().await.status(), 200);
    assert_eq!(client.publishable_key(), key(2).publishable_key());
    assert_eq!(rotations.made(), 1, "only what it has done itself");
    // There is no other key.
    program.own().revoke(None).await.unwrap();
    let refusal = Refusal::check(order().await).await.unwrap_err();
    assert_eq!(refusal.code, Code::KeyRevoked);
}
