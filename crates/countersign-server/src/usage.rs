mod agent;
mod bounds;
pub(crate) mod call;
mod classifier;
mod counted;
#[cfg(feature = "serve")]
pub(crate) mod flush_at_stop;
mod flusher;
mod hourly;
pub(crate) mod recorder;
mod room;
mod tables;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::Timestamp;
use countersign_store::{StoreError, UsageSink};
use http::request::Parts;
use tokio::{runtime::Handle, sync::Mutex};

#[cfg(feature = "serve")]
use self::flush_at_stop::FlushAtStop;
use self::{
    call::Call,
    flusher::Flusher,
    recorder::{FindCredential, Recorder},
};
#[cfg(feature = "serve")]
use crate::serve::stop::Stop;

/// Counts who calls what, from where, and hands the counts to a [`UsageSink`] every 5 s: the registry, for instance.
///
/// Pass a clone to [`Verifier::usage`](crate::Verifier::usage), and flush at the stop:
///
/// ```no_run
/// use countersign::Origins;
/// use countersign_server::{Usage, Verifier, serve, until_signal};
/// # use axum::{Router, routing::get};
/// # use countersign_store::{Gate, KeyStore, UsageSink};
/// # async fn run<R: KeyStore + UsageSink>(
/// #     origins: Origins,
/// #     registry: std::sync::Arc<R>,
/// #     gate: impl Gate,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// # let routes = Router::new().route("/v1/orders", get(async || "none"));
/// let usage = Usage::record_to(registry.clone());
/// let verifier = Verifier::new(origins, registry, gate).usage(usage.clone());
/// serve(listener, routes.layer(verifier.layer()), usage.flush_after(until_signal()?)).await;
/// # Ok(())
/// # }
/// ```
///
/// A call is counted after the last byte of its response, or when the client hangs up: refusals like responses of handlers. A
/// request only adds to counters in memory, and never waits for the sink. If the sink fails, the server keeps the counts and saves
/// them later. A server that is killed loses the counts since its last flush, at most 5 s.
///
/// What is counted, and how much of it, is bounded. docs/explanation/usage.md has the bounds, and what is never recorded. Calls of
/// [public paths](crate::Verifier::public_path) and of [uncounted routes](crate::Route::uncounted) are left out.
///
/// On routes that do not enforce signatures ([`Rollout`](crate::Rollout)) a call counts as passed, since it did. Its credential is
/// known where the route is observed and the key was found, and what would have been refused raises the same events.
///
/// The first call, in its Tokio runtime, starts the task that flushes. The task ends with the last clone of this value.
#[derive(Clone)]
pub struct Usage(Arc<Shared>);

struct Shared {
    recorder: Arc<Recorder>,
    flusher: Mutex<Flusher>,
    /// The time between two flushes, in milliseconds.
    pace: AtomicU64,
    /// Whether the task runs.
    flushing: AtomicBool,
}

impl Usage {
    /// Counts calls, and hands the counts to this sink.
    pub fn record_to(sink: impl UsageSink) -> Self {
        let usage = Self(Arc::new(Shared {
            recorder: Arc::default(),
            flusher: Mutex::new(Flusher::to(sink)),
            pace: AtomicU64::new(0),
            flushing: AtomicBool::new(false),
        }));
        usage.pace(bounds::PACE)
    }

    /// Sets the time between two flushes, for all clones. Default: 5 s.
    ///
    /// After a failure the time is longer, up to 60 s.
    pub fn pace(self, pace: Duration) -> Self {
        let milliseconds = u64::try_from(pace.as_millis()).unwrap_or(u64::MAX).max(1);
        self.0.pace.store(milliseconds, Ordering::Relaxed);
        self
    }

    /// Saves what was counted until now, and waits for the sink. A server does this every 5 s by itself.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the sink fails. The counts are saved later then.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with time, which `#[tokio::main]` makes.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.flusher.lock().await.flush(&self.0.recorder).await
    }

    /// Saves what was counted, at the end of a server: call this after the last response. Tries again if the sink fails, for 5 s.
    ///
    /// [`flush_after`](Self::flush_after) does this for [`serve`](crate::serve).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the sink failed for 5 s. The counts are lost then, unless another clone is still in use.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with time, which `#[tokio::main]` makes.
    pub async fn stop(&self) -> Result<(), StoreError> {
        let mut last = StoreError::new("saving usage takes too long");
        let saving = async {
            while let Err(error) = self.flush().await {
                last = error;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        match tokio::time::timeout(bounds::STOP_TIMEOUT, saving).await {
            Ok(()) => Ok(()),
            Err(_) => Err(last),
        }
    }

    /// Makes [`serve`](crate::serve) save what was counted after its last response, after the last step of another stop. If that
    /// fails, the log says so.
    #[cfg(feature = "serve")]
    pub fn flush_after<S: Stop>(&self, stop: S) -> FlushAtStop<S> {
        FlushAtStop::new(self.clone(), stop)
    }

    /// Begins to record a request.
    pub(crate) fn begin(
        &self,
        head: &Parts,
        route: Option<Arc<str>>,
        now: Timestamp,
        started: Instant,
    ) -> Call {
        if !self.0.flushing.load(Ordering::Relaxed) {
            self.start_flushing();
        }
        Call::begin(&self.0.recorder, head, route, now, started)
    }

    /// Looks for the credentials of named keys there.
    pub(crate) fn find_by(&self, finder: Weak<dyn FindCredential>) {
        self.0.recorder.find_by(finder);
    }

    /// Starts the task that flushes, if there is a runtime for it.
    fn start_flushing(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.0.flushing.swap(true, Ordering::Relaxed) {
            let running = Running(Arc::downgrade(&self.0));
            drop(runtime.spawn(running.flush_on()));
        }
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}

/// The task that flushes. The runtime that it runs in may end before the counting does: the next call starts it anew.
struct Running(Weak<Shared>);

impl Running {
    async fn flush_on(self) {
        let mut failures = 0_u32;
        while let Some(pause) = self.pause(failures) {
            tokio::time::sleep(pause).await;
            let Some(usage) = self.0.upgrade().map(Usage) else { return };
            match usage.flush().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        failures,
                        "usage was not saved; it is kept, and saved later"
                    );
                }
            }
        }
    }

    /// The time until the next flush; `None` if nobody counts any longer.
    fn pause(&self, failures: u32) -> Option<Duration> {
        let pace = self.0.upgrade()?.pace.load(Ordering::Relaxed);
        let pace = Duration::from_millis(pace);
        let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        Some(pace.saturating_mul(doubled).min(bounds::LONGEST_PACE.max(pace)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.flushing.store(false, Ordering::Relaxed);
        }
    }
}
