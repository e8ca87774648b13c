use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

/// The memory for gathered content: one budget for all requests of a verifier.
#[derive(Clone)]
pub(crate) struct ContentMemory(Arc<Room>);

struct Room {
    /// In bytes.
    limit: u64,
    used: AtomicU64,
}

/// The budget has no room for this content now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl ContentMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Room { limit, used: AtomicU64::new(0) }))
    }

    /// How many bytes all requests together may have.
    pub(crate) fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Whether this many bytes would fit now. Reserves nothing: a caller that announces content and sends none must not
    /// keep others out.
    pub(crate) fn check_announced(&self, bytes: u64) -> Result<(), Full> {
        let after = self.0.used.load(Ordering::Relaxed).checked_add(bytes);
        match after.is_some_and(|after| after <= self.0.limit) {
            true => Ok(()),
            false => Err(Full),
        }
    }

    /// The share of one request, which has nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { memory: self.clone(), bytes: 0 }
    }
}

impl fmt::Debug for ContentMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Room { limit, used } = &*self.0;
        f.debug_struct("ContentMemory").field("limit", limit).field("used", used).finish()
    }
}

/// What the content of one request takes of the budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    memory: ContentMemory,
    bytes: u64,
}

impl Share {
    /// Takes room for this many bytes more.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Full> {
        let Room { limit, used } = &*self.memory.0;
        let more = |used: u64| used.checked_add(bytes).filter(|used| used <= limit);
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| Full)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// The content, which keeps its room until its last copy is dropped.
    pub(crate) fn hold(self, content: Bytes) -> Bytes {
        match content.is_empty() {
            true => content,
            false => Bytes::from_owner(Held { content, _share: self }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn room_is_taken_by_what_came_and_given_back_with_the_last_copy() {
        let memory = ContentMemory::new(10);
        let (mut one, mut other) = (memory.share(), memory.share());
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
        assert!(memory.share().hold(Bytes::new()).is_empty());
        assert_eq!(memory.check_announced(10), Ok(()));
    }
}
