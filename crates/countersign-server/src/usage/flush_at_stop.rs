use super::Usage;
use crate::{BoxFuture, serve::stop::Stop};

/// Stops a server as another [`Stop`] does, and saves its usage then. Made by [`Usage::flush_after`].
#[derive(Debug)]
pub struct FlushAtStop<S> {
    usage: Usage,
    stop: S,
}

impl<S> FlushAtStop<S> {
    pub(super) const fn new(usage: Usage, stop: S) -> Self {
        Self { usage, stop }
    }
}

impl<S: Stop<Output: Send, Ending: Send + 'static>> Stop for FlushAtStop<S> {
    type Output = S::Output;
    type Asked = S::Asked;
    type Ending = BoxFuture<S::Output>;

    fn into_parts(self) -> (Self::Asked, Self::Ending) {
        let (asked, ending) = self.stop.into_parts();
        let usage = self.usage;
        let ending = async move {
            // A replay guard is saved first: usage may take seconds.
            let output = ending.await;
            if let Err(error) = usage.stop().await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "usage was not saved at the stop, and is lost"
                );
            }
            output
        };
        (asked, Box::pin(ending))
    }
}
