use std::{fmt, pin::Pin, sync::Arc};

use countersign::PublishableKey;

use crate::signing::Signing;

/// A key of a client that changes in time.
pub(crate) trait KeyInUse: fmt::Debug + Send + Sync {
    /// Returns what signs now.
    fn signing(&self) -> Arc<Signing>;

    /// Has the key looked after, beside the request that is to be sent.
    fn look_after(self: Arc<Self>);

    /// Looks for another key than this one, which has ended. Returns whether there is one.
    fn renew<'k>(
        &'k self,
        ended: &'k PublishableKey,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'k>>;
}
