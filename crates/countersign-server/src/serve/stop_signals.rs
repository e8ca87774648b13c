use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};
use tokio::sync::oneshot;

/// The signals that ask this process to stop. `None` before the first [`StopSignal`]; from then on until the process ends, since
/// the handler of a signal cannot be taken back.
static STOP_SIGNALS: Mutex<Option<StopSignals>> = Mutex::new(None);

struct StopSignals {
    /// Whether the next signal ends the process, as it would without this crate. The signal handler reads it, so that this works
    /// even if everything else hangs.
    ends_process: Arc<AtomicBool>,
    /// The servers that wait for a signal.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether a signal came a moment ago.
    settling: bool,
}

impl StopSignals {
    fn lock() -> MutexGuard<'static, Option<Self>> {
        STOP_SIGNALS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(pause: Duration) -> io::Result<Self> {
        let ends_process = Arc::new(AtomicBool::new(true));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&ends_process))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::Builder::new().name("stop-signals".to_owned()).spawn(move || {
            loop {
                let came = signals.wait().next().is_some();
                if came && Self::update(Self::tell) {
                    thread::sleep(pause);
                    Self::update(|this| this.settling = false);
                }
            }
        })?;
        Ok(Self { ends_process, waiting: Vec::new(), settling: false })
    }

    /// Makes a change, and sets the effect of the next signal.
    fn update<T: Default>(change: impl FnOnce(&mut Self) -> T) -> T {
        let mut signals = Self::lock();
        let Some(this) = &mut *signals else { return T::default() };
        let changed = change(this);
        let ends_process = this.waiting.is_empty() && !this.settling;
        this.ends_process.store(ends_process, Ordering::SeqCst);
        changed
    }

    /// Tells the servers that wait. Returns whether there was one.
    fn tell(&mut self) -> bool {
        for server in self.waiting.drain(..) {
            // Fails for a server that is gone.
            self.settling |= server.send(()).is_ok();
        }
        self.settling
    }
}

/// Waits for the next signal that asks this process to stop. That signal does not end the process, unless this is dropped before.
#[derive(Debug)]
pub(super) struct StopSignal {
    told: oneshot::Receiver<()>,
}

impl StopSignal {
    /// Waits from now on. After each signal, further signals are ignored for the `pause` of the first call.
    pub(super) fn next(pause: Duration) -> io::Result<Self> {
        let mut signals = StopSignals::lock();
        if signals.is_none() {
            *signals = Some(StopSignals::start(pause)?);
        }
        drop(signals);
        let (server, told) = oneshot::channel();
        StopSignals::update(|signals| signals.waiting.push(server));
        Ok(Self { told })
    }
}

impl Future for StopSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.told).poll(context).map(drop)
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        self.told.close();
        StopSignals::update(|signals| signals.waiting.retain(|server| !server.is_closed()));
    }
}
