use std::{fmt, process::ExitCode};

use countersign::PrivateKey;

use crate::{environment::KEY_VARIABLE, printable::one_line};

/// The exit codes of this command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Done = 0,
    /// Wrong usage, or a fault on this machine.
    Local = 1,
    /// A fault of the server or the network.
    Server = 2,
    /// Refused by the server (401, 403), or not verified.
    Refused = 3,
    /// Refused by a limit (429).
    Limited = 4,
    /// A registry differs from a text, or keys are to be replaced.
    Pending = 5,
    /// Stopped by SIGHUP.
    HungUp = 129,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGQUIT.
    Quit = 131,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure, printed as two lines: the error, and a hint for the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    error: String,
    hint: String,
}

impl Failure {
    /// Wrong usage, or a fault on this machine.
    pub(crate) fn local(error: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::new(Exit::Local, error, hint)
    }

    pub(crate) fn new(exit: Exit, error: impl fmt::Display, hint: impl fmt::Display) -> Self {
        let (error, hint) = (error.to_string(), hint.to_string());
        // Messages end up in logs. All messages are made here, including clap's messages about a misplaced argument.
        if [&error, &hint].into_iter().any(|text| PrivateKey::is_shown_in(text)) {
            return Self::private_key_shown();
        }
        Self { exit, error: one_line(&error), hint: one_line(&hint) }
    }

    /// Replaces the hint with a better hint of the caller.
    pub(crate) fn with_hint(self, hint: impl fmt::Display) -> Self {
        Self::new(self.exit, self.error, hint)
    }

    pub(crate) fn error(&self) -> &str {
        &self.error
    }

    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }

    /// Returns the failure for a command that the system does not let start.
    pub(crate) fn cannot_start(error: &std::io::Error) -> Self {
        Self::local(format!("cannot start: {error}"), "close other programs and try again")
    }

    /// Returns the failure for a private key given as an argument.
    pub(crate) fn private_key_shown() -> Self {
        Self {
            exit: Exit::Local,
            error: "a private key on the command line can be read by every user of this machine, and in its history".into(),
            hint: format!("put it into a file of mode 600 and name that, or set {KEY_VARIABLE}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nhint: {}", self.error, self.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_two_lines_whatever_is_in_it() {
        let failure = Failure::local("a\nb\u{1b}[31m", "c\r\nd");
        assert_eq!(failure.to_string(), "error: a\\nb\\u{1b}[31m\nhint: c\\r\\nd");
        let failure = Failure::local("a\u{2028}b", "c\u{202e}d");
        assert_eq!(failure.to_string(), "error: a\\u{2028}b\nhint: c\\u{202e}d");
    }

    #[test]
    fn a_private_key_is_not_said_again_wherever_it_was_given() {
        let secrets = [
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"BBBB"}"#,
            r#"{ "k" : "c2VjcmV0", "kty": "oct" }"#,
            "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8",
            " acme_sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8x",
            "sk_bFuYvMFyq9fgd3Bd2tzAU0",
        ];
        for secret in secrets {
            let quoted = [format!("unexpected argument '{secret}' found"), format!("{secret:?}")];
            for said in quoted {
                for failure in [Failure::local(&said, "x"), Failure::new(Exit::Server, "x", &said)]
                {
                    let text = failure.to_string();
                    assert_eq!(text, Failure::private_key_shown().to_string(), "{said}");
                    assert_eq!(failure.exit, Exit::Local);
                }
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_key_is_said() {
        let texts = [
            "sk_prod.pem",
            "task_list_of_a_long_name",
            "cannot read task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
            "cannot read SHOP PRIVATE KEY.pem",
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#,
            r#"{"d":1,"k":2}"#,
            "pk_aLhd8PnViAj7oDVRpxVBGduMEKpwmQdSqQo5pxfec5RqGGYoUY",
        ];
        for text in texts {
            assert!(Failure::local(text, "x").to_string().contains(text), "{text}");
        }
    }
}
