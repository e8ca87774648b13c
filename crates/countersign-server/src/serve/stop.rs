use std::{
    future::{Ready, ready},
    io,
    time::Duration,
};

/// How long after a signal further signals are ignored. A terminal sends Ctrl-C to all processes in front, and some parents, such
/// as runners of scripts, then forward it to a child that has got it already.
const FORWARDING_TIME: Duration = Duration::from_millis(500);

/// When [`serve`](crate::serve) stops, and its last step after the last response.
///
/// [`SavedNonces::until_signal`](crate::SavedNonces::until_signal) makes a stop that saves a replay guard. Every future with
/// the output `()` is a stop without a last step: [`until_signal`], or `std::future::pending()` for a server that runs as long as
/// its process.
pub trait Stop {
    /// The value that `serve` returns.
    type Output;
    /// Ends when the server must stop.
    type Asked: Future<Output = ()>;
    /// Runs after the last response.
    type Ending: Future<Output = Self::Output>;

    /// Returns the future that ends at the stop, and the last step.
    fn into_parts(self) -> (Self::Asked, Self::Ending);
}

impl<F: Future<Output = ()>> Stop for F {
    type Output = ();
    type Asked = F;
    type Ending = Ready<()>;

    fn into_parts(self) -> (F, Ready<()>) {
        (self, ready(()))
    }
}

/// Waits until the process gets `SIGINT` (Ctrl-C) or `SIGTERM`, by which systemd, Docker and Kubernetes stop a service. On
/// systems without signals, waits for Ctrl-C.
///
/// After this call the first of these signals does not end the process by itself. Signals in the next 0.5 s are ignored, since a
/// parent process may forward Ctrl-C. A later signal ends the process at once: open requests get no response, and nothing is
/// saved. A process can call this again, for its next server.
///
/// Once no server of the process waits for a signal, the next signal ends the process, even if the program handles signals itself.
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
pub fn until_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        super::stop_signals::StopSignal::next(FORWARDING_TIME)
    }
    #[cfg(not(unix))]
    {
        let waiting = ctrl_c::Waiting::begin();
        Ok(async move {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending().await
            }
            drop(waiting);
            tokio::spawn(ctrl_c::end_process());
        })
    }
}

#[cfg(not(unix))]
mod ctrl_c {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::FORWARDING_TIME;

    /// How many servers wait for Ctrl-C.
    static WAITING: AtomicUsize = AtomicUsize::new(0);

    /// Counts a server while it waits.
    pub(super) struct Waiting(());

    impl Waiting {
        pub(super) fn begin() -> Self {
            WAITING.fetch_add(1, Ordering::SeqCst);
            Self(())
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            WAITING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Ends the process at the next Ctrl-C for which no server waits.
    pub(super) async fn end_process() {
        tokio::time::sleep(FORWARDING_TIME).await;
        while tokio::signal::ctrl_c().await.is_ok() {
            if WAITING.load(Ordering::SeqCst) == 0 {
                std::process::exit(130);
            }
        }
    }
}
