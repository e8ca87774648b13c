use std::sync::Arc;

use super::sync::{AtomicUsize, Ordering};

/// The memory that a guard may use, in bytes, and what of it is in use.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl MemoryLimit {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn left(&self) -> usize {
        self.limit().saturating_sub(self.used())
    }

    /// Takes so much, if it is there.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Grant> {
        let within = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.limit());
        // The number alone is shared: what it guards is allocated by whoever took it.
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Grant { memory_limit: Arc::clone(self), bytes })
    }

    /// Takes so much, also where it is not there: for what must not be forgotten.
    pub(super) fn overdraw(self: &Arc<Self>, bytes: usize) -> Grant {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Grant { memory_limit: Arc::clone(self), bytes }
    }
}

/// Memory that was taken from a memory limit. It goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    memory_limit: Arc<MemoryLimit>,
    bytes: usize,
}

impl Grant {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds another one of the same memory limit.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory_limit.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
