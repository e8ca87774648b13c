use std::sync::Arc;

use tokio::runtime::{self, Handle};

use crate::error::Error;

/// The thread that sends and receives while a caller waits.
#[derive(Clone, Debug)]
pub(super) struct Runtime(Arc<Shared>);

#[derive(Debug)]
struct Shared(Option<runtime::Runtime>);

impl Runtime {
    pub(super) fn start() -> Result<Self, Error> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("countersign-client")
            .enable_all()
            .build();
        Ok(Self(Arc::new(Shared(Some(runtime.map_err(Error::Runtime)?)))))
    }

    /// Waits for a future.
    pub(super) fn wait_for<T, E: Into<Error>>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        match &self.0.0 {
            Some(runtime) if Handle::try_current().is_err() => {
                runtime.block_on(future).map_err(Into::into)
            }
            _ => Err(Error::BlockingInAsync),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Waits for nothing: the last client can be dropped anywhere, also in a task of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
