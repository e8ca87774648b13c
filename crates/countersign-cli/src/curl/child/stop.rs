#[cfg(not(unix))]
pub(super) use self::elsewhere::Stop;
#[cfg(unix)]
pub(super) use self::unix::Stop;

#[cfg(unix)]
mod unix {
    use std::{
        io,
        task::{Context, Poll},
    };

    use tokio::signal::unix::{Signal, SignalKind, signal};

    use crate::failure::Exit;

    /// The signals that ask this command to stop.
    pub(crate) struct Stop(Vec<(Signal, Exit)>);

    impl Stop {
        pub(crate) fn listen() -> io::Result<Self> {
            let signals = [
                (SignalKind::hangup(), Exit::HungUp),
                (SignalKind::interrupt(), Exit::Interrupted),
                (SignalKind::quit(), Exit::Quit),
                (SignalKind::terminate(), Exit::Terminated),
            ];
            // `nohup` sets SIGHUP to be ignored, and a shell does the same with SIGINT and SIGQUIT in the background.
            // Listening would undo that.
            let ignored = ignored();
            let asking = signals.into_iter().filter(|(kind, _)| !is_in(ignored, *kind));
            let listen = |(kind, exit)| signal(kind).map(|signal| (signal, exit));
            asking.map(listen).collect::<io::Result<_>>().map(Self)
        }

        pub(crate) fn poll_asked(&mut self, context: &mut Context<'_>) -> Poll<Exit> {
            for (signal, exit) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*exit);
                }
            }
            Poll::Pending
        }
    }

    /// Returns the signals that this process ignores, one bit each (proc(5), "SigIgn"). If the system does not tell,
    /// SIGHUP counts as ignored, so that `nohup` works.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(1)
    }

    fn is_in(mask: u64, kind: SignalKind) -> bool {
        let bit = u32::try_from(kind.as_raw_value()).ok().and_then(|number| number.checked_sub(1));
        bit.and_then(|bit| mask.checked_shr(bit)).is_some_and(|rest| rest & 1 == 1)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_signal_is_ignored_if_its_bit_is_set() {
            let table = [
                (0, SignalKind::hangup(), false),
                (1, SignalKind::hangup(), true),
                (2, SignalKind::hangup(), false),
                (6, SignalKind::interrupt(), true),
                (6, SignalKind::quit(), true),
                (6, SignalKind::terminate(), false),
                (0x4000, SignalKind::terminate(), true),
            ];
            for (mask, kind, expected) in table {
                assert_eq!(is_in(mask, kind), expected, "{mask:x} {kind:?}");
            }
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::{
        io,
        task::{Context, Poll},
    };

    use crate::failure::Exit;

    /// Off Unix no signal is handled.
    pub(crate) struct Stop;

    impl Stop {
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn poll_asked(&mut self, _: &mut Context<'_>) -> Poll<Exit> {
            Poll::Pending
        }
    }
}
