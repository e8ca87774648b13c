#[cfg(unix)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::{
    future::{Ready, ready},
    io,
};

/// When [`serve`](crate::serve) stops, and what it does when the last request is answered.
///
/// [`SavedNonces::until_signal`](crate::SavedNonces::until_signal) makes one that saves a replay guard. Every future without an
/// outcome is one that does nothing at the end: [`until_signal`], or `std::future::pending()` for a server that runs as long as its process.
pub trait Stop {
    /// What `serve` returns.
    type Outcome;
    /// Ends when the server is to stop.
    type Asked: Future<Output = ()>;
    /// Runs when the last request is answered.
    type Ending: Future<Output = Self::Outcome>;

    /// What to wait for, and what to do then.
    fn into_parts(self) -> (Self::Asked, Self::Ending);
}

impl<F: Future<Output = ()>> Stop for F {
    type Outcome = ();
    type Asked = F;
    type Ending = Ready<()>;

    fn into_parts(self) -> (F, Ready<()>) {
        (self, ready(()))
    }
}

/// Ends when the process gets `SIGINT` (Ctrl-C) or `SIGTERM`, by which systemd, Docker and Kubernetes stop a service. On systems
/// without signals: at Ctrl-C.
///
/// From this call on the first of them does not end the process by itself. The second one does, at once: nothing more is answered or
/// saved.
///
/// ```no_run
/// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
/// use countersign_server::{serve, until_signal};
///
/// serve(listener, app, until_signal()?).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the system does not deliver signals to this process.
///
/// # Panics
///
/// Outside of a Tokio runtime with I/O, which `#[tokio::main]` makes.
pub fn until_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // First, so that nobody hears of a signal before it is known that it has come.
        let has_come = end_at_second_signal()?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                () = ready(()), if has_come.load(Ordering::SeqCst) => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    })
}

/// Has the second signal do what it would do without us: in the signal handler, so that it works where everything else hangs.
/// Returns whether a first one has come.
#[cfg(unix)]
fn end_at_second_signal() -> io::Result<Arc<AtomicBool>> {
    use signal_hook::{consts, flag};
    let has_come = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        // In this order: the first signal finds that none has come.
        flag::register_conditional_default(signal, Arc::clone(&has_come))?;
        flag::register(signal, Arc::clone(&has_come))?;
    }
    Ok(has_come)
}
