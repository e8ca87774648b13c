use std::time::{SystemTime, UNIX_EPOCH};

use countersign::Timestamp;

/// The time of the system's clock.
///
/// A clock before 1970 gives 0: every signature is then one from the future, and is refused.
pub fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_unix(since.map_or(0, |since| since.as_secs()))
}
