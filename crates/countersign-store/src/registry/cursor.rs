use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A place in a list, for [`Registry::page`](crate::Registry::page) and [`Registry::page_of_applications`](crate::Registry::page_of_applications).
///
/// It prints as a text that can be kept and parsed later, and says nothing else to its holder. What is added, changed or
/// removed meanwhile moves nothing: an entry that stays is on one page. In a list in the order of expiry, an entry whose expiry
/// is changed moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    list: List,
    after: Place,
}

/// The last entry before a place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// Its time, in a list in the order of times.
    pub(super) time: i64,
    /// Its number.
    pub(super) number: i64,
}

impl Place {
    /// The beginning of every list.
    pub(super) const START: Self = Self { time: i64::MIN, number: 0 };

    /// The place behind an entry in a list in the order of numbers.
    pub(super) const fn of_number(number: i64) -> Self {
        Self { time: i64::MIN, number }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum List {
    Credentials,
    CredentialsByCreation,
    CredentialsByExpiry,
    /// Of retiring credentials, the end of the overlap.
    CredentialsByEnd,
    Applications,
    /// Of events, when they last happened.
    Events,
}

impl List {
    const fn byte(self) -> u8 {
        match self {
            Self::Credentials => b'k',
            Self::CredentialsByCreation => b'c',
            Self::CredentialsByExpiry => b'e',
            Self::CredentialsByEnd => b'r',
            Self::Applications => b'a',
            Self::Events => b'v',
        }
    }

    const ALL: [Self; 6] = [
        Self::Credentials,
        Self::CredentialsByCreation,
        Self::CredentialsByExpiry,
        Self::CredentialsByEnd,
        Self::Applications,
        Self::Events,
    ];
}

impl Cursor {
    pub(super) const fn new(list: List, after: Place) -> Self {
        Self { list, after }
    }

    /// Returns the last entry before a cursor of this list.
    pub(super) fn place_in(cursor: Option<Self>, list: List) -> Result<Option<Place>, BadCursor> {
        match cursor {
            Some(cursor) if cursor.list != list => Err(BadCursor),
            cursor => Ok(cursor.map(|cursor| cursor.after)),
        }
    }
}

/// The text is not the cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the place in the list is not one that this list has returned")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.list.byte()];
        bytes.extend(self.after.time.to_be_bytes());
        bytes.extend(self.after.number.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        // A list, a time and a number.
        let mut bytes = [0; 17];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(bytes.len()) {
            return Err(BadCursor);
        }
        let [list, rest @ ..] = bytes;
        let list = List::ALL.into_iter().find(|one| one.byte() == list).ok_or(BadCursor)?;
        let (time, number) = rest.split_first_chunk::<8>().ok_or(BadCursor)?;
        let number = number.try_into().map_err(|_| BadCursor)?;
        let after = Place { time: i64::from_be_bytes(*time), number: i64::from_be_bytes(number) };
        Ok(Self { list, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_print() {
        for list in List::ALL {
            for number in [0, 1, i64::MAX] {
                let cursor = Cursor { list, after: Place { time: number, number } };
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        let text = Cursor { list: List::Credentials, after: Place::of_number(7) }.to_string();
        for bad in ["", "x", &text[1..], &format!("{text}A"), &text.replace('a', "b"), "' OR 1=1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }
}
