use std::{fmt, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use countersign::{Claim, NonceUse, Timestamp, Window};
use countersign_store::{
    Ceiling, ClientAddress, Credential, Gate, GateVerdict, MemoryNonces, NoClientAddress,
    NonceStore, Readiness, StoreError, Verdict, system_time,
};
use tokio::sync::watch;

use crate::{
    BoxFuture,
    serve::stop::{Stop, until_signal},
};

/// How long resuming may continue after a signal.
const RESUME_TIMEOUT: Duration = Duration::from_secs(2);

/// The replay guard of a single process, which keeps its memory over a restart: [`MemoryNonces`] with a file that has the memory
/// between a stop and the next start. A server with this guard restarts without refusing any request.
///
/// Bind the listener first. Then resume the guard, put a clone of it into the verifier, and pass
/// [`until_signal`](Self::until_signal) to [`serve`](crate::serve):
///
/// ```no_run
/// use countersign::{Origins, Window};
/// use countersign_server::{SavedNonces, Verifier, serve};
/// # use axum::{Router, routing::get};
/// # use countersign_store::{Ceiling, KeyStore};
/// # async fn run(
/// #     origins: Origins,
/// #     registry: std::sync::Arc<impl KeyStore + Ceiling>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// # let routes = Router::new().route("/v1/orders", get(async || "none"));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let nonces =
///     SavedNonces::resume(Window::default(), registry.clone(), "countersign.nonces").await?;
/// let verifier = Verifier::new(origins, registry, nonces.clone());
/// serve(listener, routes.layer(verifier.layer()), nonces.until_signal()).await?;
/// # Ok(())
/// # }
/// ```
///
/// The file is for one server and one registry. Keep it on a disk that the next start sees, readable by nobody else. Without the
/// file, as after a crash, the next start refuses signed calls for 11 to 16 s.
///
/// Resuming takes the registry's ceiling away from the server that has it, and uses up the file. If the port is in use after
/// that, the start has stopped that server's signed calls for nothing, or has lost the file. So resume after every step that can
/// fail.
///
/// From the start of resuming, a first `SIGINT` or `SIGTERM` does not end the process by itself. An early signal stops
/// [`serve`](crate::serve) as soon as it runs, and the guard is saved. If the registry hangs, resuming fails 2 s after the
/// signal. A later signal ends the process at once, as [`until_signal`](crate::until_signal) describes, and the next start is as
/// after a crash.
pub struct SavedNonces<C> {
    nonces: Arc<MemoryNonces<C>>,
    file: Arc<Path>,
    /// Closed after a signal.
    signal: watch::Receiver<()>,
}

impl<C: Ceiling> SavedNonces<C> {
    /// Continues from the saved memory of the previous guard, as [`MemoryNonces::resume`] does, and saves into the same file.
    /// Call it after the listener is bound.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the ceiling cannot be taken over or raised, a signal arrives while the registry does not respond, or the
    /// system has no randomness or delivers no signals. If the memory was read and the ceiling could not be raised, the file is used
    /// up: the next start refuses signed calls at first, as after a crash.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with I/O, which `#[tokio::main]` makes.
    pub async fn resume(
        window: Window,
        ceiling: C,
        file: impl AsRef<Path>,
    ) -> Result<Self, StoreError> {
        let file = file.as_ref();
        // Watch for signals before the file is used up. Otherwise a signal would end the process, and lose its memory.
        let signal = watched_signal()?;
        let mut told = signal.clone();
        let given_up = async {
            stopped(&mut told).await;
            // Resuming may have used up the file already. Then only this guard can save it again.
            tokio::time::sleep(RESUME_TIMEOUT).await;
        };
        let nonces = tokio::select! {
            biased;
            resumed = MemoryNonces::resume(window, ceiling, file, system_time()) => resumed?,
            () = given_up => {
                return Err(StoreError::because(
                    "a signal came while the replay guard was being resumed",
                    "the registry does not respond",
                ));
            }
        };
        Ok(Self { nonces: Arc::new(nonces), file: file.into(), signal })
    }

    /// Saves this guard into the file that it was [resumed](MemoryNonces::resume) from: for a guard with settings of its own. A
    /// signal before this call ends the process, and the guard is lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system delivers no signals to this process.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with I/O, which `#[tokio::main]` makes.
    pub fn new(nonces: MemoryNonces<C>, file: impl AsRef<Path>) -> Result<Self, StoreError> {
        let signal = watched_signal()?;
        Ok(Self { nonces: Arc::new(nonces), file: file.as_ref().into(), signal })
    }

    /// Makes [`serve`](crate::serve) stop at [`SIGINT` or `SIGTERM`](until_signal), and save the guard after the last response.
    /// `serve` then returns the result of saving.
    ///
    /// A guard is saved once. If several listeners share the guard, pass this to the listener that takes longest to stop.
    pub fn until_signal(&self) -> SaveAtSignal<C> {
        SaveAtSignal { nonces: self.clone() }
    }

    /// Returns the guard.
    pub fn nonces(&self) -> &MemoryNonces<C> {
        &self.nonces
    }

    async fn save(self) -> Result<(), StoreError> {
        self.nonces.stop(&self.file, system_time()).await
    }
}

/// Returns a channel that is closed after a signal.
fn watched_signal() -> Result<watch::Receiver<()>, StoreError> {
    let comes = until_signal()
        .map_err(|error| StoreError::because("the system delivers no signals", error))?;
    let (open, signal) = watch::channel(());
    tokio::spawn(async move {
        tokio::select! {
            () = comes => {}
            // The guard is gone, and needs no signal.
            () = open.closed() => {}
        }
    });
    Ok(signal)
}

/// Waits for a signal.
async fn stopped(signal: &mut watch::Receiver<()>) {
    // Nothing is ever sent: the channel is closed after a signal.
    while signal.changed().await.is_ok() {}
}

impl<C> Clone for SavedNonces<C> {
    fn clone(&self) -> Self {
        let (nonces, file) = (Arc::clone(&self.nonces), Arc::clone(&self.file));
        Self { nonces, file, signal: self.signal.clone() }
    }
}

impl<C> fmt::Debug for SavedNonces<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedNonces")
            .field("nonces", &self.nonces)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl<C: Ceiling> NonceStore for SavedNonces<C> {
    async fn claim(&self, used: &NonceUse, now: Timestamp) -> Result<Claim, StoreError> {
        self.nonces.claim(used, now).await
    }
}

impl<C: Ceiling> Gate for SavedNonces<C> {
    async fn charge_and_claim(
        &self,
        credential: &Credential,
        used: &NonceUse,
        cost: NonZeroU32,
        now: Timestamp,
    ) -> Result<GateVerdict, StoreError> {
        self.nonces.charge_and_claim(credential, used, cost, now).await
    }

    async fn charge_unsigned(
        &self,
        credential: &Credential,
        from: Option<ClientAddress>,
        cost: NonZeroU32,
    ) -> Result<Verdict, NoClientAddress> {
        self.nonces.charge_unsigned(credential, from, cost).await
    }
}

impl<C: Ceiling> Readiness for SavedNonces<C> {
    async fn ready_at(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.nonces.ready_at(now).await
    }
}

/// Stops a server at a signal and saves its replay guard. Made by [`SavedNonces::until_signal`].
#[derive(Debug)]
pub struct SaveAtSignal<C> {
    nonces: SavedNonces<C>,
}

impl<C: Ceiling> Stop for SaveAtSignal<C> {
    type Output = Result<(), StoreError>;
    type Asked = BoxFuture<()>;
    type Ending = BoxFuture<Result<(), StoreError>>;

    fn into_parts(self) -> (Self::Asked, Self::Ending) {
        let mut signal = self.nonces.signal.clone();
        let asked = async move { stopped(&mut signal).await };
        (Box::pin(asked), Box::pin(self.nonces.save()))
    }
}
