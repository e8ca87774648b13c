use std::time::Duration;

use countersign::{Code, Component, Origin, Timestamp};
use http::{HeaderMap, header::RETRY_AFTER};
use tokio::runtime::Handle;

use crate::{
    clock::{Clock, Moment},
    refusal::retry_after,
    signing::Signing,
};

/// How long a request waits for a server, by default: a server without its replay guard refuses signed requests for 11 to 16 s.
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// The first pause exceeds the server's by once to twice this. It doubles with each pause, up to
/// `MOST_SPREAD`.
const SPREAD: Duration = Duration::from_millis(25);
const MOST_SPREAD: Duration = Duration::from_secs(1);

/// The attempts of a request so far, and the reasons to sign it once more.
#[derive(Debug)]
pub(crate) struct Attempts {
    followed_clock: bool,
    /// The components to cover in addition.
    more: Vec<Component<'static>>,
    patience: Patience,
}

/// A response to an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The time of the response's signature, if it was verified.
    pub(crate) responded_at: Option<Timestamp>,
    /// When the attempt was signed.
    pub(crate) signed: Moment,
    pub(crate) origin: &'a Origin,
    pub(crate) repeat: Repeat,
}

/// The possible effect of sending a refused request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The server received the request once, and refused it; or the request is a read.
    Harmless,
    /// An attacker on the way could have delivered the write before, and kept that response back: also a verified refusal is
    /// true of its own delivery alone. Sent again, the write could be executed twice.
    PerhapsExecutedTwice,
}

/// The step after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The response is the caller's to see.
    Return,
    /// Sign anew and send, after this pause.
    SignAgain { pause: Duration },
}

/// Waits before the next attempt. Returns whether it could: outside of tokio, as in a service of another runtime, only without a
/// pause.
pub(crate) async fn wait(pause: Duration) -> bool {
    if pause.is_zero() {
        return true;
    }
    if Handle::try_current().is_err() {
        return false;
    }
    tokio::time::sleep(pause).await;
    true
}

impl Attempts {
    /// A request that may wait for this long in total.
    pub(crate) const fn new(wait: Duration) -> Self {
        Self { followed_clock: false, more: Vec::new(), patience: Patience::new(wait) }
    }

    /// The components to cover in addition.
    pub(crate) fn more(&self) -> &[Component<'static>] {
        &self.more
    }

    /// The step after this response of the server itself.
    ///
    /// Every request that is signed anew here was refused before its handler ran. Also where the refusal is returned, later
    /// requests are signed by the server's clock.
    pub(crate) fn after(&mut self, answer: Answer<'_>, clock: &Clock, signing: &Signing) -> Next {
        let next = self.after_harmless(answer, clock, signing);
        match answer.repeat {
            Repeat::Harmless => next,
            Repeat::PerhapsExecutedTwice => Next::Return,
        }
    }

    fn after_harmless(
        &mut self,
        Answer { headers, responded_at, signed, origin, .. }: Answer<'_>,
        clock: &Clock,
        signing: &Signing,
    ) -> Next {
        const AT_ONCE: Next = Next::SignAgain { pause: Duration::ZERO };
        // Content alone makes no refusal to act on: a service behind the server's verifier can have written it.
        let Some(Ok(code)) = Code::of_refusal(headers) else { return Next::Return };
        match code {
            // With `Retry-After` the reason is not the clock.
            Code::SignatureStale if !headers.contains_key(RETRY_AFTER) => {
                let follows =
                    !self.followed_clock && clock.follow(origin, responded_at, headers, signed);
                self.followed_clock |= follows;
                if follows { AT_ONCE } else { Next::Return }
            }
            Code::SignatureStale
            | Code::RateLimited
            | Code::Overloaded
            | Code::ReplayStoreUnavailable
            | Code::RegistryUnavailable
            | Code::TokenKeysUnavailable => {
                let pause = retry_after(headers).and_then(|asked| self.patience.pause(asked));
                pause.map_or(Next::Return, |pause| Next::SignAgain { pause })
            }
            Code::SignaturePolicy | Code::SignatureRequired if self.more.is_empty() => {
                self.more = signing.asked_beyond(headers);
                if self.more.is_empty() { Next::Return } else { AT_ONCE }
            }
            _ => Next::Return,
        }
    }
}

/// How long a request may still wait.
#[derive(Debug)]
struct Patience {
    left: Duration,
    spread: Duration,
}

impl Patience {
    const fn new(left: Duration) -> Self {
        Self { left, spread: SPREAD }
    }

    /// The next pause, if there is time for it. It is longer than asked, and random: clients that were refused together
    /// come back apart.
    fn pause(&mut self, asked: Duration) -> Option<Duration> {
        let mut random = [0; 2];
        // Without randomness, the longest pause.
        let random = match getrandom::fill(&mut random) {
            Ok(()) => u16::from_le_bytes(random),
            Err(_) => u16::MAX,
        };
        let random = self.spread.mul_f64(f64::from(random) / f64::from(u16::MAX));
        let pause = asked.saturating_add(self.spread).saturating_add(random);
        self.left = self.left.checked_sub(pause)?;
        self.spread = self.spread.saturating_mul(2).min(MOST_SPREAD);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_longer_than_asked_and_end_with_the_time_for_them() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let asked = Duration::from_secs(3);
        for longest in [50, 100, 200] {
            let pause = patience.pause(asked).unwrap();
            let beyond = pause.checked_sub(asked).unwrap().as_millis();
            assert!((longest / 2..=longest).contains(&beyond), "{beyond} of {longest}");
        }
        assert_eq!(patience.pause(asked), None, "less than a second is left");
        assert!(patience.pause(Duration::ZERO).is_some());
        assert_eq!(Patience::new(Duration::ZERO).pause(Duration::ZERO), None);
        assert_eq!(Patience::new(asked).pause(Duration::MAX), None);
    }

    #[test]
    fn a_server_that_asks_for_no_pause_is_not_asked_at_once_forever() {
        let mut patience = Patience::new(Duration::from_secs(30));
        let pauses = std::iter::from_fn(|| patience.pause(Duration::ZERO)).count();
        assert!((15..40).contains(&pauses), "{pauses}");
    }
}
