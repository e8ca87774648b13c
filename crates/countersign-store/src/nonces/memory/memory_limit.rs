use std::sync::Arc;

use super::sync::{AtomicUsize, Ordering};

/// The memory that a guard may use and the memory in use, in bytes.
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

    /// Takes this many bytes. `None` if fewer are left.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Grant> {
        let within = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.limit());
        // Threads share the number alone: each allocates its own memory after taking it.
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Grant { memory_limit: Arc::clone(self), bytes })
    }

    /// Takes this many bytes even beyond the limit, for nonces that must not be forgotten.
    pub(super) fn overdraw(self: &Arc<Self>, bytes: usize) -> Grant {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Grant { memory_limit: Arc::clone(self), bytes }
    }
}

/// Memory taken from a limit. Dropping the grant returns it.
#[derive(Debug)]
pub(super) struct Grant {
    memory_limit: Arc<MemoryLimit>,
    bytes: usize,
}

impl Grant {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds another grant of the same memory limit.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory_limit.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
