//! Usage in databases that are locked, incomplete or gone, and programs that are killed while they save: a batch is saved, or
//! nothing of it is.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use countersign_store::{
    EventCount, EventFilter, EventKey, EventKind, Registry, UsageBatch, UsageDimension, UsageQuery,
    UsageSink, UsageStep,
};

use crate::{
    home::{Home, on_both},
    usage::{MIDNIGHT, at, call, calls, client, place, total},
};

on_both! {
    a_batch_that_fails_leaves_nothing_of_itself
    a_transaction_of_others_on_the_registry_holds_up_no_flush_of_a_server
    killing_a_program_again_and_again_saves_all_of_a_batch_or_nothing
}

/// What each of these batches has of everything.
const CALLS: u64 = 30;

fn batch(server: u64, number: u64) -> UsageBatch {
    let mut batch = UsageBatch::new(server, number);
    for credential in 1..=i64::try_from(CALLS).unwrap() {
        batch.calls.insert(call(credential, "/v1", at(0, 1, number % 60)), calls(1));
        batch.places.insert(place(credential, "192.0.2.7", at(0, 1, 0)), 1);
        batch.clients.insert(client(credential, "curl", at(0, 1, 0)), 1);
        let key = EventKey {
            credential: countersign_store::CredentialId::new(credential),
            kind: EventKind::Replayed,
            detail: None,
        };
        let once = EventCount { first: MIDNIGHT, last: MIDNIGHT, count: 1, verified: 0 };
        batch.events.insert(key, once);
    }
    batch
}

/// How many batches are saved. Each is in every table.
async fn saved(registry: &Registry) -> u64 {
    let now = at(0, 3, 0);
    let all = UsageQuery::new(MIDNIGHT, at(1, 0, 0));
    let calls = total(registry, all.clone(), now).await;
    for query in [
        all.clone().step(UsageStep::Minute),
        all.clone().step(UsageStep::Hour),
        all.clone().group_by(UsageDimension::Network),
        all.clone().group_by(UsageDimension::Network).step(UsageStep::Hour),
        all.clone().group_by(UsageDimension::Product),
        all.group_by(UsageDimension::Product).step(UsageStep::Hour),
    ] {
        assert_eq!(total(registry, query.clone(), now).await, calls, "{query:?}");
    }
    let events = registry.events(&EventFilter::default(), None, 1000).await.unwrap().entries;
    assert_eq!(events.iter().map(|event| event.count.count).sum::<u64>(), calls);
    assert_eq!(calls % CALLS, 0);
    calls / CALLS
}

async fn a_batch_that_fails_leaves_nothing_of_itself(home: Home) {
    let registry = home.registry().await;
    registry.save(&batch(1, 1), at(0, 2, 0)).await.unwrap();
    // The last table that is written is not there.
    home.raw("ALTER TABLE countersign.usage_event RENAME TO usage_event_elsewhere").await;
    for _ in 0..10 {
        let error = registry.save(&batch(1, 2), at(0, 2, 0)).await.unwrap_err();
        assert_eq!(error.to_string(), "usage cannot be saved");
        assert!(std::error::Error::source(&error).is_some());
    }
    home.raw("ALTER TABLE countersign.usage_event_elsewhere RENAME TO usage_event").await;
    assert_eq!(saved(&registry).await, 1);
    registry.save(&batch(1, 2), at(0, 2, 0)).await.unwrap();
    assert_eq!(saved(&registry).await, 2);
}

async fn a_transaction_of_others_on_the_registry_holds_up_no_flush_of_a_server(home: Home) {
    let registry = home.registry().await;
    let holder = home.hold().await;
    let held = registry.save(&batch(1, 1), at(0, 2, 0)).await;
    // SQLite has one lock for all.
    assert_eq!(held.is_err(), matches!(home, Home::Sqlite(_)), "{held:?}");
    holder.end().await;
    registry.save(&batch(1, 1), at(0, 2, 0)).await.unwrap();
    assert_eq!(saved(&registry).await, 1);
}

/// The registry to which the process of a test saves.
const URL: &str = "COUNTERSIGN_TEST_USAGE_URL";
/// The number of that server.
const SERVER: &str = "COUNTERSIGN_TEST_USAGE_SERVER";

/// A process that saves batches and says which, until it is killed.
struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    saved: u64,
}

impl Program {
    fn start(url: &str, server: u64) -> Self {
        // This test program, with the one test that is the process.
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "usage_faults::a_program_that_saves_usage", "--nocapture"])
            .env(URL, url)
            .env(SERVER, server.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, saved: 0 }
    }

    fn take(&mut self, line: &str) {
        // The last line may be cut.
        let number = line.strip_prefix("saved ").and_then(|line| line.strip_suffix('.'));
        self.saved = number.map_or(self.saved, |number| number.parse().unwrap());
    }

    fn wait_for(&mut self, number: u64) {
        while self.saved < number {
            let line = self.lines.next().unwrap().unwrap();
            self.take(&line);
        }
    }

    /// Kills it, and returns the number of the last batch of which it has said that it is saved.
    fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Some(Ok(line)) = self.lines.next() {
            self.take(&line);
        }
        self.saved
    }
}

#[tokio::test]
async fn a_program_that_saves_usage() {
    let (Ok(url), Ok(server)) = (env::var(URL), env::var(SERVER)) else { return };
    let server = server.parse().unwrap();
    let registry = Registry::open(&url).await.unwrap();
    for number in 1..u64::MAX {
        // The server may be killed while this runs. The same batch then comes again.
        while registry.save(&batch(server, number), at(0, 2, 0)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The harness of tests writes to the same stream.
        println!("\nsaved {number}.");
        std::io::stdout().flush().unwrap();
    }
}

async fn killing_a_program_again_and_again_saves_all_of_a_batch_or_nothing(home: Home) {
    const ROUNDS: u64 = 6;
    let registry = home.registry().await;
    let mut said = 0;
    for round in 0..ROUNDS {
        // Two at once add to the same rows.
        let mut programs = [0, 1].map(|half| Program::start(&home.url(), 2 * round + half));
        for program in &mut programs {
            program.wait_for(fastrand::u64(1..6));
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..4000)));
        said += programs.into_iter().map(Program::kill).sum::<u64>();
    }
    // PostgreSQL may still carry out the last commit of a program that is gone.
    let saved = saved(&registry).await;
    assert!((said..=said + 2 * ROUNDS).contains(&saved), "{saved} of {said}");
}

#[cfg(all(feature = "postgres", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_again_and_again_loses_no_batch_and_counts_none_twice() {
    let mut server = crate::server::Postgres::start();
    let registry = Registry::open_or_create(&server.url()).await.unwrap();
    let mut programs = [0, 1].map(|half| Program::start(&server.url(), half));
    for _ in 0..4 {
        for program in &mut programs {
            program.wait_for(program.saved + fastrand::u64(1..6));
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..4000)));
        server.kill();
        registry.save(&batch(7, 1), at(0, 2, 0)).await.unwrap_err();
        server.run();
    }
    for program in &mut programs {
        program.wait_for(program.saved + 2);
    }
    let said: u64 = programs.into_iter().map(Program::kill).sum();
    let saved = saved(&registry).await;
    assert!((said..=said + 2).contains(&saved), "{saved} of {said}");
}
