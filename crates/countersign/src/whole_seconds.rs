use std::time::Duration;

/// Returns a time in whole seconds, rounded up, as in `Retry-After`: a client that waits less retries too early.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
