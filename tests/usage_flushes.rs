//! How counts reach their sink, and that counting never gets into the way of a call.

use std::{collections::BTreeMap, time::Duration};

use countersign_server::{Usage, serve};
use harness::{Raw, UsageDesk, exchange};
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::{net::TcpListener, sync::oneshot};

use crate::usage::{app, call, publishable};

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_gets_the_same_batch_again_and_loses_nothing() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let app = app(&usage);
    desk.fail(true);
    for _ in 0..10 {
        assert_eq!(call(&app, &publishable(Raw::read(), 1)).await, 200);
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let offered = desk.offered();
    assert!(
        offered.len() >= 5 && offered.len() <= 12,
        "with longer and longer pauses: {offered:?}"
    );
    assert!(offered.iter().all(|number| *number == 1), "{offered:?}");
    assert!(usage.flush().await.is_err());
    desk.fail(false);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let batches = desk.batches();
    assert_eq!(batches.iter().map(|batch| batch.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(desk.calls().values().map(|count| count.calls).sum::<u64>(), 10);
    assert_eq!(batches[0].server, batches[1].server);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_does_not_return_delays_no_call_and_a_stop_for_5_s_at_most() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let app = app(&usage);
    desk.hang(true);
    assert_eq!(call(&app, &publishable(Raw::read(), 1)).await, 200);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(desk.offered(), [1], "the task is at it");
    let before = tokio::time::Instant::now();
    assert_eq!(call(&app, &Raw::order().signed()).await, 201);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(usage.stop().await.is_err());
    let waited = before.elapsed().as_secs();
    assert_eq!(waited, 5);
    // A batch that was given up is handed over again, once the sink has had its time.
    desk.hang(false);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(desk.calls().values().map(|count| count.calls).sum::<u64>(), 2);
}

#[tokio::test]
async fn a_stop_saves_what_was_counted() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone()).pace(Duration::from_secs(3600));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let asked = async { drop(stopped.await) };
    let serving = tokio::spawn(serve(listener, app(&usage), usage.flush_after(asked)));
    assert_eq!(exchange(address, &Raw::order().signed().bytes()).await.status, 201);
    assert!(desk.batches().is_empty());
    drop(stop);
    serving.await.unwrap();
    let (key, _) = desk.only();
    assert_eq!(key.status, StatusCode::CREATED);
    let prefix = desk.batches()[0].places.keys().next().unwrap().prefix;
    assert_eq!(prefix.unwrap().to_string(), "127.0.0.0/24", "it is that of the socket");
}

#[test]
fn usage_made_outside_of_a_runtime_is_flushed_in_the_one_that_calls_come_in() {
    let desk = UsageDesk::default();
    let usage = Usage::record_to(desk.clone());
    let app = app(&usage);
    // The second runtime comes when the first one, and its task, are gone.
    for calls in [1, 2] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            assert_eq!(call(&app, &publishable(Raw::read(), 1)).await, 200);
            tokio::time::sleep(Duration::from_secs(6)).await;
        });
        drop(runtime);
        assert_eq!(desk.batches().len(), calls);
    }
    drop((app, usage));
}

#[test]
fn metrics_tell_the_same_numbers() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let desk = UsageDesk::default();
            let usage = Usage::record_to(desk.clone());
            let app = app(&usage);
            let order = Raw::order().signed();
            for expected in [201, 401, 401] {
                assert_eq!(call(&app, &order).await, expected);
            }
            for number in 0..300_u32 {
                let [.., a, b] = number.to_be_bytes();
                let from = format!("10.{a}.{b}.1");
                call(&app, &publishable(Raw::read(), 1).add("Test-From", from)).await;
            }
            desk.fail(true);
            usage.flush().await.unwrap_err();
            desk.fail(false);
            usage.flush().await.unwrap();
        });
    });
    let told: BTreeMap<_, _> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let key = key.key();
            let name = key.name().strip_prefix("countersign_usage_")?.to_owned();
            let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
            Some((format!("{name} {}", labels.join(" ")).trim().to_owned(), value))
        })
        .collect();
    let counter = |name: &str| match &told[name] {
        DebugValue::Counter(count) => *count,
        other => panic!("{other:?}"),
    };
    assert_eq!(counter("calls_total signed passed"), 1);
    assert_eq!(counter("calls_total signed signature-replayed"), 2);
    assert_eq!(counter("calls_total publishable passed"), 300);
    assert_eq!(counter("flushes_total failed"), 1);
    assert_eq!(counter("flushes_total saved"), 1);
    assert_eq!(counter("overflow_total"), 300 - 256);
    assert_eq!(counter("dropped_total"), 0);
    assert_eq!(told["flush_age_seconds"], DebugValue::Gauge(0.0.into()));
}
