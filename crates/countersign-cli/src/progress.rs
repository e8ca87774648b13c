use std::{
    io::{IsTerminal, stderr},
    pin::pin,
    time::{Duration, Instant},
};

use crate::output::rewrite;

/// A short wait shows nothing.
const QUIET: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(200);

/// Shows on a terminal how much of something large is read. Elsewhere it shows nothing.
pub(crate) struct Progress<'n> {
    name: &'n str,
    /// `None` if the length is not known.
    total: Option<u64>,
    read: u64,
    /// When to write next. `None` if stderr is no terminal.
    next: Option<Instant>,
    is_shown: bool,
}

impl<'n> Progress<'n> {
    pub(crate) fn new(name: &'n str, total: Option<u64>) -> Self {
        let next = stderr().is_terminal().then(|| Instant::now().checked_add(QUIET)).flatten();
        Self { name, total, read: 0, next, is_shown: false }
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = now.checked_add(BETWEEN);
            self.is_shown = true;
            rewrite(line(self.name, self.read, self.total));
        }
    }

    /// Clears the line for another.
    pub(crate) fn clear(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            rewrite("");
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Waits for an answer. If that takes a while, shows on a terminal what is done, and for how long.
pub(crate) async fn waiting<F: Future>(what: &str, answer: F) -> F::Output {
    let began = Instant::now();
    let mut answer = pin!(answer);
    let mut is_shown = false;
    loop {
        if let Ok(answer) = tokio::time::timeout(BETWEEN, answer.as_mut()).await {
            if is_shown {
                rewrite("");
            }
            return answer;
        }
        let waited = began.elapsed();
        if waited >= QUIET && (is_shown || stderr().is_terminal()) {
            is_shown = true;
            rewrite(format_args!("{what}: {} s", waited.as_secs()));
        }
    }
}

fn line(name: &str, read: u64, total: Option<u64>) -> String {
    let mebibytes = read / (1024 * 1024);
    let percent = total.and_then(|total| read.saturating_mul(100).checked_div(total));
    match percent {
        Some(percent) => format!("reading {name}: {mebibytes} MiB, {percent} %"),
        None => format!("reading {name}: {mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_told_in_mebibytes_and_in_percent_where_the_length_is_known() {
        const GIB: u64 = 1 << 30;
        assert_eq!(line("a.iso", GIB, Some(2 * GIB)), "reading a.iso: 1024 MiB, 50 %");
        assert_eq!(line("-", GIB / 2, None), "reading -: 512 MiB");
        assert_eq!(line("grows", 2, Some(0)), "reading grows: 0 MiB");
    }
}
