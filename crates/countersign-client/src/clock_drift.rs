use std::{fmt, time::Duration};

use countersign::Timestamp;
use http::{HeaderMap, header::DATE};

/// How far the clock of this machine is from the server's, to the second, and by the time that a response takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockDrift {
    /// The clock here shows a later time.
    Ahead(Duration),
    /// The clock here shows an earlier time.
    Behind(Duration),
}

impl ClockDrift {
    /// The difference between a local time and the `Date` of a response. `None` without a valid `Date`.
    pub fn of(headers: &HeaderMap, local: Timestamp) -> Option<Self> {
        let server = Timestamp::from_http_date(headers.get(DATE)?)?;
        match local.since(server) {
            Some(ahead) => Some(Self::Ahead(ahead)),
            None => server.since(local).map(Self::Behind),
        }
    }
}

impl fmt::Display for ClockDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(by) => {
                write!(f, "the clock here is {} s ahead of the server's", by.as_secs())
            }
            Self::Behind(by) => {
                write!(f, "the clock here is {} s behind the server's", by.as_secs())
            }
        }
    }
}

/// The time by the local clock at which a request was signed, in the extensions of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedAt(pub(crate) Timestamp);
