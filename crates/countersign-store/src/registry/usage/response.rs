use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use countersign::Timestamp;

use super::event_feed::EventNews;
use crate::{credential::CredentialId, usage::event::EventKind};

/// What is done about events beside telling them: nothing, unless it says otherwise.
///
/// Only times count that are [verified](crate::EventCount::verified): accepted requests, with a valid signature and a fresh nonce. So
/// whoever knows a publishable key, sends garbage under it, or sends captured requests again can never bring about a quarantine.
///
/// ```
/// use std::time::Duration;
/// use countersign_store::{EventKind, UsageResponse};
///
/// // A key goes into quarantine when it signs from many networks in two different hours of a day.
/// UsageResponse::notify().quarantine_after(
///     EventKind::ManyNetworks,
///     2.try_into()?,
///     Duration::from_secs(24 * 60 * 60),
/// );
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageResponse {
    rules: Vec<Rule>,
    an_hour: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    kind: EventKind,
    times: NonZeroU32,
    within: Duration,
}

impl UsageResponse {
    /// Tells events, and does nothing else.
    pub const fn notify() -> Self {
        Self { rules: Vec::new(), an_hour: 3 }
    }

    /// Puts a key into quarantine after so many verified events of a kind within a time: each network or platform, and each hour
    /// with many networks, is one. Kinds that a stranger can cause never count.
    pub fn quarantine_after(
        mut self,
        kind: EventKind,
        times: NonZeroU32,
        within: Duration,
    ) -> Self {
        self.rules.push(Rule { kind, times, within });
        self
    }

    /// Sets how many quarantines there are in an hour at most, of all servers together. Default: 3. Further events are only told.
    pub const fn at_most_an_hour(mut self, quarantines: u32) -> Self {
        self.an_hour = quarantines;
        self
    }

    pub(super) const fn an_hour(&self) -> u32 {
        self.an_hour
    }
}

/// The verified events of late, which count towards a quarantine.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspicions {
    events: VecDeque<(Timestamp, CredentialId, EventKind)>,
}

/// How many are remembered. Without the oldest, a quarantine comes later.
const MOST: usize = 100_000;

impl Suspicions {
    /// Notes an event, and returns whether a rule asks for a quarantine of its key.
    pub(super) fn note(
        &mut self,
        news: &EventNews,
        response: &UsageResponse,
        now: Timestamp,
    ) -> bool {
        let event = &news.event;
        if news.newly_verified == 0 || !is_of_holder(event.kind) {
            return false;
        }
        let longest = response.rules.iter().map(|rule| rule.within).max();
        let Some(longest) = longest else { return false };
        let first = now.minus(longest);
        self.events.retain(|(at, ..)| *at >= first);
        if self.events.len() >= MOST {
            self.events.pop_front();
        }
        self.events.push_back((now, event.credential, event.kind));
        response.rules.iter().filter(|rule| rule.kind == event.kind).any(|rule| {
            let since = now.minus(rule.within);
            let same = |(at, credential, kind): &&(Timestamp, CredentialId, EventKind)| {
                *at >= since && *credential == event.credential && *kind == event.kind
            };
            let times = self.events.iter().filter(same).count();
            usize::try_from(rule.times.get()).is_ok_and(|enough| times >= enough)
        })
    }

    /// Forgets the events of a key.
    pub(super) fn forget(&mut self, credential: CredentialId) {
        self.events.retain(|(_, other, _)| *other != credential);
    }
}

/// Whether only the holder of the private key can cause events of this kind.
const fn is_of_holder(kind: EventKind) -> bool {
    match kind {
        EventKind::FirstNetwork | EventKind::FirstPlatform | EventKind::ManyNetworks => true,
        EventKind::Replayed
        | EventKind::BadSignature
        | EventKind::UsedAfterRevocation
        | EventKind::UsedAfterExpiry
        | EventKind::PublishableWrite
        | EventKind::RestrictionViolated => false,
    }
}
