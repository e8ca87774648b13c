use std::{collections::HashMap, time::Duration};

use countersign::Timestamp;

use super::events::{EventFilter, UsageEvent};
use crate::{
    credential::CredentialId,
    registry::{Registry, error::RegistryError},
    usage::event::{EventCount, EventKind},
};

/// How long after an event a server may save it, in an ordinary outage of its database. Events that are saved later are missed.
const LATE: Duration = Duration::from_secs(15 * 60);
/// How many events are read at a time.
const AT_A_TIME: u32 = 1000;

/// Finds what is new among events: those that happened for the first time, and those that happened again.
///
/// Servers save events some seconds after they happened. So a feed looks back 15 minutes each time, and leaves out what it returned
/// before.
#[derive(Clone, Debug)]
pub struct EventFeed {
    filter: EventFilter,
    since: Timestamp,
    seen: HashMap<(CredentialId, EventKind, Option<String>), EventCount>,
}

/// An event that is new, or happened again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventNews {
    /// The event, with all of its counts.
    pub event: UsageEvent,
    /// How often it happened since the feed returned it last.
    pub new: u64,
    /// How many of these times were [verified](EventCount::verified).
    pub newly_verified: u64,
}

impl EventFeed {
    /// Makes a feed of the events that match a filter, and happened at the time `since` or later. The filter's own times are
    /// replaced.
    pub fn new(filter: EventFilter, since: Timestamp) -> Self {
        Self { filter, since, seen: HashMap::new() }
    }

    /// Returns what is new since the last call, at the time `now`: the earliest first. The first call returns what happened since
    /// the beginning of the feed.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::events`]. The next call returns what this one would have returned.
    pub async fn next(
        &mut self,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Vec<EventNews>, RegistryError> {
        let filter = self.filter.clone().since(self.since);
        let (mut news, mut from) = (Vec::new(), None);
        loop {
            let page = registry.events(&filter, from, AT_A_TIME).await?;
            news.extend(page.entries);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let news = news.into_iter().rev().filter_map(|event| self.news(event)).collect();
        self.since = self.since.max(now.minus(LATE));
        let since = self.since;
        self.seen.retain(|_, count| count.last >= since);
        Ok(news)
    }

    fn news(&mut self, event: UsageEvent) -> Option<EventNews> {
        let key = (event.credential, event.kind, event.detail.clone());
        let (before, verified_before) = match self.seen.insert(key, event.count) {
            Some(before) if before == event.count => return None,
            Some(before) => (before.count, before.verified),
            // It may have happened before the feed began, or longer ago than the feed remembers. Then one time is new for sure.
            None if event.count.first < self.since => {
                (event.count.count.saturating_sub(1), event.count.verified.saturating_sub(1))
            }
            None => (0, 0),
        };
        let new = event.count.count.saturating_sub(before);
        let newly_verified = event.count.verified.saturating_sub(verified_before).min(new);
        Some(EventNews { event, new, newly_verified })
    }
}
