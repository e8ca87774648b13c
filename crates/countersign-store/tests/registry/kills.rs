//! Programs and servers that are killed at any point: no acknowledged change is lost, and none is half done.

#![cfg(unix)]
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are the tests' own")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use countersign::{KeyId, PrivateKey, ProvenKey};
use countersign_store::{NewCredential, Registry, Revocation, State};
use sha2::{Digest as _, Sha256};

use crate::{
    home::{Home, on_both},
    life::NOW,
    listed,
};

on_both! {
    killing_a_program_again_and_again_loses_no_change_and_leaves_none_half_done
}

/// The registry that the process of a test changes.
const URL: &str = "COUNTERSIGN_TEST_URL";
/// The number of that process.
const ROUND: &str = "COUNTERSIGN_TEST_ROUND";

const ROUNDS: u8 = 12;

/// The key that a process registers as its `number`th.
fn key(round: u8, number: u16) -> PrivateKey {
    let mut seed = [round; 32];
    let [high, low] = number.to_be_bytes();
    (seed[0], seed[1]) = (high, low);
    PrivateKey::ed25519(&seed)
}

/// A process that changes a registry and says what was acknowledged, until it is killed.
struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(url: &str, round: u8) -> Self {
        // This test program, with the one test that is the process.
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kills::a_program_that_changes_a_registry", "--nocapture"])
            .env(URL, url)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads what it says, until so many changes were acknowledged.
    fn acknowledged(&mut self, changes: usize, said: &mut Said) {
        for _ in 0..changes {
            let line = loop {
                let line = self.lines.next().unwrap().unwrap();
                if line.starts_with("acknowledged ") {
                    break line;
                }
            };
            said.take(&line);
        }
    }

    /// Kills it, and reads what it has said before.
    fn kill(mut self, said: &mut Said) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for line in self.lines.map_while(Result::ok) {
            said.take(&line);
        }
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Said {
    added: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

impl Said {
    fn take(&mut self, line: &str) {
        // The last line may be cut.
        let Some(said) = line.strip_prefix("acknowledged ") else { return };
        let Some(said) = said.strip_suffix('.') else { return };
        let (what, key) = said.split_once(' ').unwrap();
        let new = match what {
            "added" => self.added.insert(key.into()),
            "revoked" => self.revoked.insert(key.into()),
            other => panic!("{other}"),
        };
        assert!(new, "{line}");
    }
}

fn say(what: &str, key: &PrivateKey) {
    // The harness of tests writes to the same stream.
    println!("\nacknowledged {what} {}.", key.publishable_key());
    std::io::stdout().flush().unwrap();
}

#[tokio::test]
async fn a_program_that_changes_a_registry() {
    let (Ok(url), Ok(round)) = (env::var(URL), env::var(ROUND)) else { return };
    let round: u8 = round.parse().unwrap();
    let registry = Registry::open(&url).await.unwrap();
    // The server may be killed while this runs: what was not acknowledged is not said.
    let pause = || tokio::time::sleep(Duration::from_millis(5));
    for number in 0..u16::MAX {
        let key = key(round, number);
        let proven = ProvenKey::from(&key);
        match registry.add_credential(NewCredential::new("shop", "", &proven), NOW).await {
            Ok(_) => say("added", &key),
            Err(_) => pause().await,
        }
        if number % 2 == 0 {
            match registry.revoke(&KeyId::Publishable(key.publishable_key()), None, NOW).await {
                Ok(Revocation::Revoked(_)) => say("revoked", &key),
                Ok(_) => {}
                Err(_) => pause().await,
            }
        }
    }
}

/// Nothing that was acknowledged is missing; and credentials, audit log and last change tell the same.
async fn whole(registry: &Registry, said: &Said) {
    let mut credentials = BTreeMap::new();
    for credential in listed::credentials(registry, None).await.unwrap() {
        let credential = credential.unwrap();
        let key = credential.key.publishable_key().to_string();
        credentials.insert(key, credential.state);
    }
    for key in &said.added {
        assert!(credentials.contains_key(key), "{key} is lost");
    }
    for key in &said.revoked {
        assert_eq!(credentials.get(key), Some(&State::Revoked), "{key}");
    }
    // One more, which is chained to the last.
    let number = registry.audit_entries(0, 1).await.unwrap().len();
    assert_eq!(number, 1);
    registry.add_application(&format!("after-{}", said.added.len()), "live", NOW).await.unwrap();
    let entries = registry.audit_entries(0, u32::MAX).await.unwrap();
    let (mut added, mut revoked) = (BTreeSet::new(), BTreeSet::new());
    let mut hash = "0".repeat(64);
    for (entry, number) in entries.iter().zip(1_i64..) {
        assert_eq!(entry.number, number);
        hash = hash_after(&hash, entry);
        assert_eq!(entry.hash.to_string(), hash, "{entry:?}");
        let key = entry.key_id.clone();
        let new = match &*entry.action {
            "key.add" => added.insert(key.unwrap()),
            "key.revoke" => revoked.insert(key.unwrap()),
            _ => true,
        };
        assert!(new, "twice: {entry:?}");
    }
    assert_eq!(added, credentials.keys().cloned().collect());
    let are_revoked = credentials.iter().filter(|(_, state)| **state == State::Revoked);
    assert_eq!(revoked, are_revoked.map(|(key, _)| key.clone()).collect());
}

/// The hash of an entry, as the documentation of the log describes it.
fn hash_after(previous: &str, entry: &countersign_store::AuditEntry) -> String {
    let mut hash = Sha256::new_with_prefix("countersign audit v1\n");
    let bytes: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(previous.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
        .collect();
    hash.update(bytes);
    hash.update(entry.number.to_be_bytes());
    hash.update(entry.at.unix().to_be_bytes());
    let texts = [
        Some(&entry.actor),
        Some(&entry.action),
        entry.application.as_ref(),
        entry.key_id.as_ref(),
        entry.before.as_ref(),
        entry.after.as_ref(),
    ];
    for text in texts {
        hash.update(text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
        hash.update(text.map_or("", String::as_str));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn killing_a_program_again_and_again_loses_no_change_and_leaves_none_half_done(home: Home) {
    let registry = home.registry().await;
    registry.add_application("shop", "live", NOW).await.unwrap();
    let mut said = Said::default();
    for round in 0..ROUNDS {
        // Two at once wait for each other in the middle of changes.
        let url = home.url();
        let mut programs = [Program::start(&url, round), Program::start(&url, 100 + round)];
        let (changes, micros) = (fastrand::usize(1..12), fastrand::u64(0..4000));
        for program in &mut programs {
            program.acknowledged(changes, &mut said);
        }
        std::thread::sleep(Duration::from_micros(micros));
        for program in programs {
            program.kill(&mut said);
        }
    }
    registry.close().await;
    let registry = Registry::open(&home.url()).await.unwrap();
    assert!(said.added.len() > usize::from(ROUNDS), "{}", said.added.len());
    whole(&registry, &said).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_again_and_again_loses_no_change_and_leaves_none_half_done() {
    let mut server = crate::server::Postgres::start();
    let registry = Registry::open_or_create(&server.url()).await.unwrap();
    registry.add_application("shop", "live", NOW).await.unwrap();
    let mut said = Said::default();
    let url = server.url();
    let mut programs = [Program::start(&url, 0), Program::start(&url, 100)];
    for _ in 0..5 {
        for program in &mut programs {
            program.acknowledged(fastrand::usize(2..12), &mut said);
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..4000)));
        server.kill();
        server.run();
    }
    for mut program in programs {
        program.acknowledged(2, &mut said);
        program.kill(&mut said);
    }
    whole(&registry, &said).await;
}
