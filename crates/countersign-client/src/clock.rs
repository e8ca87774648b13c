use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use countersign::{Origin, Timestamp};
use http::{HeaderMap, header::DATE};

/// How far the client follows a server's clock, in seconds. A larger difference is not drift.
const MOST: i64 = 15 * 60;

/// The time at which requests are signed: the local clock, corrected for each origin after it refused a request as stale.
/// One server's time never changes another's.
#[derive(Clone)]
pub(crate) struct Clock {
    local: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    offsets: Arc<Mutex<HashMap<Origin, i64>>>,
}

/// A time to sign at, and how far it is ahead of the local clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Timestamp,
    offset: i64,
}

impl Moment {
    /// The same by the local clock.
    pub(crate) fn by_local_clock(self) -> Timestamp {
        Timestamp::from_unix(self.time.unix().saturating_add_signed(self.offset.saturating_neg()))
    }

    fn local(self) -> i64 {
        i64::try_from(self.by_local_clock().unix()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        let system = || {
            // With a clock before 1970 servers refuse the signature as stale, and the clock is then corrected or not.
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            Timestamp::from_unix(since.map_or(0, |since| since.as_secs()))
        };
        Self::new(system)
    }
}

impl Clock {
    pub(crate) fn new(local: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { local: Arc::new(local), offsets: Arc::default() }
    }

    /// The time at this origin, as far as it is known.
    pub(crate) fn now(&self, origin: &Origin) -> Moment {
        let offset = self.offsets().get(origin).copied().unwrap_or(0);
        let time = (self.local)().unix().saturating_add_signed(offset);
        Moment { time: Timestamp::from_unix(time), offset }
    }

    /// Follows the clock of an origin that refused a request, signed at `signed`, as stale. The origin's time is that of
    /// the response's own signature if it was verified, and its `Date` otherwise. Returns whether the clock changed, so
    /// that signing again can help.
    ///
    /// Call it for authenticated responses only. An attacker can keep a signature that was made ahead of time until its
    /// time comes, so a forged `Date` would make every later request good for minutes longer than the server's window.
    pub(crate) fn follow(
        &self,
        origin: &Origin,
        responded_at: Option<Timestamp>,
        headers: &HeaderMap,
        signed: Moment,
    ) -> bool {
        let date = || headers.get(DATE).and_then(Timestamp::from_http_date);
        let Some(server) = responded_at.or_else(date) else { return false };
        let server = i64::try_from(server.unix()).unwrap_or(i64::MAX);
        let local = i64::try_from((self.local)().unix()).unwrap_or(i64::MAX);
        let offset = server.saturating_sub(local);
        let since = local.saturating_sub(signed.local()).max(0);
        // Compared with the offset of this attempt: others may have followed the clock meanwhile. A difference no larger
        // than the time on the way is no proof of a wrong clock: the request may have arrived in time before, and have
        // been carried out.
        let moved = offset.saturating_sub(signed.offset).saturating_abs();
        if offset.saturating_abs() > MOST || moved <= since {
            return false;
        }
        self.offsets().insert(origin.clone(), offset);
        true
    }

    fn offsets(&self) -> MutexGuard<'_, HashMap<Origin, i64>> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_server_is_followed_once_and_not_far_and_for_itself_alone() {
        let clock = Clock::new(|| Timestamp::from_unix(1_763_900_000));
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        let (ours, other) = (origin("https://api.example"), origin("https://other.example"));
        let now = |origin| clock.now(origin).time.unix();
        let follow = |date, signed| {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            clock.follow(&ours, None, &headers, signed)
        };
        let before = clock.now(&ours);
        assert!(!follow("yesterday", before));
        assert!(!follow("Sun, 23 Nov 2025 13:13:20 GMT", before), "an hour off");
        assert_eq!(now(&ours), 1_763_900_000);
        let date = "Sun, 23 Nov 2025 12:03:20 GMT";
        assert!(follow(date, before));
        assert_eq!((now(&ours), now(&other)), (1_763_899_400, 1_763_900_000));
        assert!(follow(date, before), "another attempt that did not know it yet");
        assert!(!follow(date, clock.now(&ours)), "nothing new");
    }
}
