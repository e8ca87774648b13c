use std::time::Instant;

use super::{failure::is_connection_lost, patience};

/// How often something that can be done again is begun.
///
/// After a restart of the server every connection of the pool is broken, and each shows it when it is used.
#[derive(Debug)]
pub(super) struct Attempts {
    began: Instant,
    left: u32,
}

impl Attempts {
    /// Allows one attempt for each of the connections that may be broken, and one more.
    pub(super) fn after(connections: u32) -> Self {
        Self { began: Instant::now(), left: connections }
    }

    /// Whether to try again, on another connection.
    pub(super) fn has_another_after(&mut self, error: &sqlx::Error) -> bool {
        let has = self.left > 0
            && self.began.elapsed() < patience::FOR_CONNECTION
            && is_connection_lost(error);
        self.left = self.left.saturating_sub(1);
        has
    }
}
