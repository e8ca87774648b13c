use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use countersign::Timestamp;
use http::{HeaderMap, header::DATE};
use time::{PrimitiveDateTime, macros::format_description};

/// How far a server's clock is followed. What is further off is not a clock that drifted.
const MOST: i64 = 15 * 60;

/// The time at which requests are signed: the local clock, corrected by a server that refused one as stale.
#[derive(Clone)]
pub(crate) struct Clock {
    local: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    offset: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        let system = || {
            // A clock before 1970 signs what servers refuse as stale, and is then corrected or not.
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            Timestamp::from_unix(since.map_or(0, |since| since.as_secs()))
        };
        Self::new(system)
    }
}

impl Clock {
    pub(crate) fn new(local: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { local: Arc::new(local), offset: Arc::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let local = (self.local)().unix();
        Timestamp::from_unix(local.saturating_add_signed(self.offset.load(Ordering::Relaxed)))
    }

    /// Follows the clock of a server that refused a request as stale.
    pub(crate) fn follow(&self, headers: &HeaderMap) -> Followed {
        let Some(server) = server_time(headers) else { return Followed::No };
        let local = i64::try_from((self.local)().unix()).unwrap_or(i64::MAX);
        let offset = server.saturating_sub(local);
        if offset.saturating_abs() > MOST {
            return Followed::No;
        }
        match self.offset.swap(offset, Ordering::Relaxed) {
            same if same == offset => Followed::No,
            _ => Followed::Yes,
        }
    }
}

/// Whether the clock is another one now, so that signing again can help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    Yes,
    No,
}

fn server_time(headers: &HeaderMap) -> Option<i64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(PrimitiveDateTime::parse(date, &format).ok()?.assume_utc().unix_timestamp())
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("offset", &self.offset).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_server_is_followed_once_and_not_far() {
        let clock = Clock::new(|| Timestamp::from_unix(1_763_900_000));
        let mut headers = HeaderMap::new();
        let mut follow = |date| {
            headers.insert(DATE, HeaderValue::from_static(date));
            clock.follow(&headers) == Followed::Yes
        };
        assert!(!follow("yesterday"));
        assert!(!follow("Sun, 23 Nov 2025 13:13:20 GMT"), "an hour off");
        assert_eq!(clock.now().unix(), 1_763_900_000);
        assert!(follow("Sun, 23 Nov 2025 12:03:20 GMT"));
        assert_eq!(clock.now().unix(), 1_763_899_400);
        assert!(!follow("Sun, 23 Nov 2025 12:03:20 GMT"), "nothing new");
    }
}
