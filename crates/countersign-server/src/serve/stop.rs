#[cfg(unix)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::{
    future::{Ready, ready},
    io,
};

/// When [`serve`](crate::serve) stops, and its last step after the last response.
///
/// [`SavedNonces::until_signal`](crate::SavedNonces::until_signal) makes a stop that saves a replay guard. Every future with
/// the output `()` is a stop without a last step: [`until_signal`], or `std::future::pending()` for a server that runs as long as
/// its process.
pub trait Stop {
    /// The value that `serve` returns.
    type Outcome;
    /// Ends when the server must stop.
    type Asked: Future<Output = ()>;
    /// Runs after the last response.
    type Ending: Future<Output = Self::Outcome>;

    /// Returns the future that ends at the stop, and the last step.
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

/// Waits until the process gets `SIGINT` (Ctrl-C) or `SIGTERM`, by which systemd, Docker and Kubernetes stop a service. On
/// systems without signals, waits for Ctrl-C.
///
/// After this call the first of these signals does not end the process by itself. The second signal does, at once: open requests
/// get no response, and nothing is saved.
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
        // Before the handlers below, so that the flag is set by the time a handler reports a signal.
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

/// Lets the second signal end the process, as it would without this crate. The signal handler does it, so that it works even if
/// everything else hangs. Returns the flag that the first signal sets.
#[cfg(unix)]
fn end_at_second_signal() -> io::Result<Arc<AtomicBool>> {
    use signal_hook::{consts, flag};
    let has_come = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        // In this order, the first signal finds the flag not yet set.
        flag::register_conditional_default(signal, Arc::clone(&has_come))?;
        flag::register(signal, Arc::clone(&has_come))?;
    }
    Ok(has_come)
}
