use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// A short wait shows nothing.
const QUIET: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(200);

/// Shows on a terminal how much was read. Elsewhere it shows nothing.
pub(super) struct Progress {
    read: u64,
    /// When to write next. `None` if stderr is no terminal.
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let next = stderr().is_terminal().then(|| Instant::now().checked_add(QUIET)).flatten();
        Self { read: 0, next, is_shown: false }
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = now.checked_add(BETWEEN);
            self.is_shown = true;
            // A closed stderr cannot be reported anywhere.
            drop(write!(stderr(), "\r\u{1b}[Kread {} MiB", self.read >> 20));
        }
    }

    /// Clears the line for another.
    pub(super) fn clear(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            drop(write!(stderr(), "\r\u{1b}[K"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
