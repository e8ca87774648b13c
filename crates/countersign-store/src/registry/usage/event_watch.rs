use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use countersign::{KeyId, Timestamp};

use super::{
    event_feed::{EventFeed, EventNews},
    events::EventFilter,
    response::{Suspicions, UsageResponse},
};
use crate::{
    credential::State,
    error::StoreError,
    registry::{
        Registry,
        actor::Actor,
        audit::{act::Action, filter::AuditFilter},
        error::RegistryError,
    },
    system_time::system_time,
};

/// Who puts keys into quarantine, in the audit log.
const ACTOR: &str = "usage policy";
const HOUR: Duration = Duration::from_secs(60 * 60);
const BETWEEN: Duration = Duration::from_secs(2);
/// How many events wait for a handler that fails. The oldest are dropped.
const WAITING: usize = 10_000;

/// Gets the events of a registry: sends them to a webhook, for instance.
///
/// ```
/// use countersign_store::{EventHandler, EventNews, EventResponse, StoreError};
///
/// /// Prints events; an operator's would send them to a webhook.
/// struct Printed;
///
/// impl EventHandler for Printed {
///     async fn handle(&self, news: &EventNews, done: EventResponse) -> Result<(), StoreError> {
///         println!("{news:?}: {done:?}");
///         Ok(())
///     }
/// }
/// ```
pub trait EventHandler: Send + Sync + 'static {
    /// Gets an event that is new, or happened again, and what was done about it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it has to be handed over again. The events behind it wait until then.
    fn handle(
        &self,
        news: &EventNews,
        done: EventResponse,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<T: EventHandler> EventHandler for Arc<T> {
    async fn handle(&self, news: &EventNews, done: EventResponse) -> Result<(), StoreError> {
        T::handle(self, news, done).await
    }
}

/// What was done about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventResponse {
    /// It was told.
    Notified,
    /// The key was put into quarantine: it reads, and does not write.
    Quarantined,
    /// The key would have been put into quarantine, but there were too many quarantines in the last hour.
    LimitReached,
}

/// Watches the events of a registry, and responds to them. Made by [`Registry::watch_events`].
///
/// Let one process watch: each hands over all events.
#[derive(Debug)]
pub struct EventWatch<H> {
    registry: Registry,
    response: UsageResponse,
    handler: H,
    feed: EventFeed,
    suspicions: Suspicions,
    waiting: VecDeque<(EventNews, EventResponse)>,
}

impl Registry {
    /// Watches the events that happen at the time `since` or later.
    pub fn watch_events<H: EventHandler>(
        &self,
        response: UsageResponse,
        handler: H,
        since: Timestamp,
    ) -> EventWatch<H> {
        EventWatch {
            registry: self.clone(),
            response,
            handler,
            feed: EventFeed::new(EventFilter::default(), since),
            suspicions: Suspicions::default(),
            waiting: VecDeque::new(),
        }
    }
}

impl<H: EventHandler> EventWatch<H> {
    /// Looks every 2 s, for ever: spawn it beside the server. What fails is logged, and done again.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.look(system_time()).await {
                let error = &error as &dyn Error;
                tracing::warn!(error, "events could not be read or responded to; trying again");
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Looks once, at the time `now`: puts keys into quarantine as the response says, then hands the events over.
    ///
    /// # Errors
    ///
    /// An error of the database. The events are looked at again, or, if a quarantine failed, told without it.
    pub async fn look(&mut self, now: Timestamp) -> Result<(), RegistryError> {
        let mut failed = None;
        for news in self.feed.next(&self.registry, now).await? {
            let is_due = self.suspicions.note(&news, &self.response, now);
            let done = match is_due {
                true => self.quarantine(&news, now).await,
                false => Ok(EventResponse::Notified),
            };
            let done = done.unwrap_or_else(|error| {
                failed = Some(error);
                EventResponse::Notified
            });
            if self.waiting.len() >= WAITING {
                self.waiting.pop_front();
                tracing::warn!("an event was dropped: its handler fails, and too many wait");
            }
            self.waiting.push_back((news, done));
        }
        while let Some((news, done)) = self.waiting.front() {
            if let Err(error) = self.handler.handle(news, *done).await {
                let error = &error as &dyn Error;
                tracing::warn!(error, "an event was not handed over; it is handed over again");
                break;
            }
            self.waiting.pop_front();
        }
        failed.map_or(Ok(()), Err)
    }

    async fn quarantine(
        &mut self,
        news: &EventNews,
        now: Timestamp,
    ) -> Result<EventResponse, RegistryError> {
        let key = news.event.key.as_deref().and_then(|key| key.parse::<KeyId>().ok());
        let Some(key) = key else { return Ok(EventResponse::Notified) };
        let credential = self.registry.credential(&key).await?;
        match credential.state {
            State::Active | State::Retiring => {}
            State::Quarantined | State::Revoked => return Ok(EventResponse::Notified),
        }
        let actor: Actor = ACTOR.parse()?;
        // The log knows the quarantines of other servers, and those before a restart.
        let filter = AuditFilter::default().actor(&actor).action(Action::QuarantineKey);
        let filter = filter.since(now.minus(HOUR));
        let most = self.response.an_hour();
        let before = self.registry.latest_audit_entries(&filter, None, most).await?;
        if u32::try_from(before.len()).unwrap_or(u32::MAX) >= most {
            return Ok(EventResponse::LimitReached);
        }
        let reason = format!("event {}", news.event.kind).parse().ok();
        self.registry.clone().acting_as(actor).quarantine(&key, reason, now).await?;
        // After a release, it takes as many events again.
        self.suspicions.forget(news.event.credential);
        Ok(EventResponse::Quarantined)
    }
}
