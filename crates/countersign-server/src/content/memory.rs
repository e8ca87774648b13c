use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use countersign_store::{Application, ApplicationName};
use foldhash::fast::RandomState;

/// An application may use the budget divided by this.
const SHARES: u64 = 4;

/// The memory for gathered content: a budget for all requests of a verifier, and within it a share for each application.
#[derive(Clone)]
pub(crate) struct ContentMemory(Arc<Room>);

struct Room {
    /// In bytes.
    limit: u64,
    used: Mutex<Used>,
}

/// The used memory, in bytes.
#[derive(Debug, Default)]
struct Used {
    by_all: u64,
    /// Only applications that use memory. Their names are unique, and chosen by the operator, so that they need no hash against
    /// collisions.
    by_application: HashMap<ApplicationName, u64, RandomState>,
}

/// The error for content that does not fit into the budget, or into the application's share, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl ContentMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Room { limit, used: Mutex::default() }))
    }

    /// Returns how many bytes all requests together may use.
    pub(crate) fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Checks that this many bytes would fit now. Reserves nothing: a caller could otherwise keep others out by announcing
    /// content and sending none.
    pub(crate) fn check_announced(&self, bytes: u64) -> Result<(), Full> {
        let after = self.0.used().by_all.checked_add(bytes);
        match after.is_some_and(|after| after <= self.0.limit) {
            true => Ok(()),
            false => Err(Full),
        }
    }

    /// The same for an application's share.
    pub(crate) fn check_share(
        &self,
        application: &Application,
        largest: u64,
        bytes: u64,
    ) -> Result<(), Full> {
        let most = self.0.most(largest);
        self.0.with_more(&self.0.used(), application, most, bytes).map(drop)
    }

    /// Begins a request of this application, which uses no memory yet. An application may use a quarter of the budget, and always
    /// enough for a single request of the largest size.
    pub(crate) fn share(&self, application: &Arc<Application>, largest: u64) -> Share {
        let most = self.0.most(largest);
        Share { memory: self.clone(), application: Arc::clone(application), most, bytes: 0 }
    }
}

impl Room {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self, largest: u64) -> u64 {
        largest.max(self.limit / SHARES)
    }

    /// Returns the bytes used by all requests, and by this application, after this many bytes more.
    fn with_more(
        &self,
        used: &Used,
        application: &Application,
        most: u64,
        bytes: u64,
    ) -> Result<(u64, u64), Full> {
        let more =
            |used: u64, most: u64| used.checked_add(bytes).filter(|&used| used <= most).ok_or(Full);
        let own = used.by_application.get(&application.name).copied().unwrap_or(0);
        Ok((more(used.by_all, self.limit)?, more(own, most)?))
    }
}

impl fmt::Debug for ContentMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Room { limit, .. } = &*self.0;
        f.debug_struct("ContentMemory").field("limit", limit).finish_non_exhaustive()
    }
}

/// The memory that the content of a request uses. Returned to the budget on drop.
#[derive(Debug)]
pub(crate) struct Share {
    memory: ContentMemory,
    application: Arc<Application>,
    /// The application's limit, in bytes.
    most: u64,
    bytes: u64,
}

impl Share {
    /// Takes room for this many bytes more.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Full> {
        let room = &self.memory.0;
        let mut used = room.used();
        let (by_all, own) = room.with_more(&used, &self.application, self.most, bytes)?;
        used.by_all = by_all;
        match used.by_application.get_mut(&self.application.name) {
            Some(had) => *had = own,
            None if own > 0 => {
                used.by_application.insert(self.application.name.clone(), own);
            }
            None => {}
        }
        drop(used);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Returns the content, which keeps its room until its last copy is dropped.
    pub(crate) fn hold(self, content: Bytes) -> Bytes {
        match content.is_empty() {
            true => content,
            false => Bytes::from_owner(Held { content, _share: self }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut used = self.memory.0.used();
        used.by_all = used.by_all.saturating_sub(self.bytes);
        let name = &self.application.name;
        if let Some(own) = used.by_application.get_mut(name) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                used.by_application.remove(name);
            }
        }
    }
}

struct Held {
    content: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use countersign::Timestamp;
    use countersign_store::Environment;

    use super::*;

    fn application(name: &str) -> Arc<Application> {
        let (name, environment) = (name.parse().unwrap(), Environment::from_static("test"));
        Arc::new(Application::new(name, environment, Timestamp::from_unix(0)))
    }

    #[test]
    fn an_application_leaves_three_quarters_of_the_room_to_others() {
        let memory = ContentMemory::new(100);
        let (mut first, mut second) =
            (memory.share(&application("one"), 10), memory.share(&application("one"), 10));
        assert_eq!(first.take(20), Ok(()));
        assert_eq!(second.take(6), Err(Full));
        let fits = |bytes| memory.check_share(&application("one"), 10, bytes);
        assert_eq!((fits(5), fits(6)), (Ok(()), Err(Full)));
        assert_eq!(second.take(5), Ok(()), "what was refused took nothing");
        assert_eq!(second.take(1), Err(Full));
        let mut other = memory.share(&application("other"), 10);
        assert_eq!(other.take(25), Ok(()));
        assert_eq!(memory.check_announced(50), Ok(()));
        // A single request of the largest size fits, however small a quarter is.
        assert_eq!(memory.share(&application("third"), 40).take(40), Ok(()));
        drop(first.hold(Bytes::from_static(b"orders")));
        assert_eq!(second.take(20), Ok(()), "it came back with the last copy");
        drop((second, other));
        let used = memory.0.used();
        assert_eq!((used.by_all, used.by_application.len()), (0, 0), "nothing is left of them");
    }

    #[test]
    fn room_is_taken_by_what_came_and_given_back_with_the_last_copy() {
        let memory = ContentMemory::new(10);
        let (mut one, mut other) =
            (memory.share(&application("one"), 10), memory.share(&application("other"), 10));
        assert_eq!(one.take(6), Ok(()));
        assert_eq!(memory.check_announced(4), Ok(()));
        assert_eq!(memory.check_announced(5), Err(Full));
        assert_eq!(memory.check_announced(u64::MAX), Err(Full));
        assert_eq!(other.take(5), Err(Full));
        assert_eq!(other.take(4), Ok(()), "what was refused took nothing");
        drop(other);
        let content = one.hold(Bytes::from_static(b"orders"));
        let copy = content.slice(1..2);
        drop(content);
        assert_eq!(memory.check_announced(5), Err(Full));
        drop(copy);
        assert_eq!(memory.check_announced(10), Ok(()));
        assert!(memory.share(&application("one"), 10).hold(Bytes::new()).is_empty());
        assert_eq!(memory.check_announced(10), Ok(()));
    }
}
