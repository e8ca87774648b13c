use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A place in a list, for [`Registry::page`](crate::Registry::page) and [`Registry::page_of_applications`](crate::Registry::page_of_applications).
///
/// It prints as a text that can be kept and parsed later, and says nothing else to its holder. What is added, changed or
/// removed meanwhile moves nothing: an entry that stays is on one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    list: List,
    /// The number of the last entry before this place.
    after: i64,
    /// When that entry last happened, if it is an event.
    at: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum List {
    Credentials,
    Applications,
    Events,
}

impl List {
    const fn byte(self) -> u8 {
        match self {
            Self::Credentials => b'k',
            Self::Applications => b'a',
            Self::Events => b'e',
        }
    }
}

impl Cursor {
    /// Makes the place behind the entry with this number.
    pub(super) const fn new(list: List, after: i64) -> Self {
        Self { list, after, at: None }
    }

    /// Makes the place behind the event with this number, which last happened at this time.
    pub(super) const fn of_event(at: i64, after: i64) -> Self {
        Self { list: List::Events, after, at: Some(at) }
    }

    /// Returns the number of the entry before a place in this list.
    pub(super) fn number_in(place: Option<Self>, list: List) -> Result<Option<i64>, BadCursor> {
        match place {
            Some(place) if place.list != list => Err(BadCursor),
            place => Ok(place.map(|place| place.after)),
        }
    }

    /// Returns when the event before a place last happened, and its number.
    pub(super) fn event_in(place: Option<Self>) -> Result<Option<(i64, i64)>, BadCursor> {
        match place {
            None => Ok(None),
            Some(Self { list: List::Events, after, at: Some(at) }) => Ok(Some((at, after))),
            Some(_) => Err(BadCursor),
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
        bytes.extend(self.after.to_be_bytes());
        bytes.extend(self.at.map(i64::to_be_bytes).into_iter().flatten());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut bytes = [0; 17];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| BadCursor)?;
        let (list, numbers) = bytes.split_first().ok_or(BadCursor)?;
        let lists = [List::Credentials, List::Applications, List::Events];
        let list = lists.into_iter().find(|one| one.byte() == *list).ok_or(BadCursor)?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let numbers = numbers.iter().map(|number| i64::from_be_bytes(*number));
        match (list, length, numbers.collect::<Vec<_>>().as_slice()) {
            (List::Events, 17, [after, at]) => Ok(Self::of_event(*at, *after)),
            (List::Credentials | List::Applications, 9, [after, _]) => Ok(Self::new(list, *after)),
            _ => Err(BadCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_print() {
        for list in [List::Credentials, List::Applications] {
            for after in [0, 1, i64::MAX] {
                let cursor = Cursor::new(list, after);
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
                let cursor = Cursor::of_event(1_763_900_000, after);
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        let text = Cursor::new(List::Credentials, 7).to_string();
        for bad in ["", "x", &text[1..], &format!("{text}A"), &text.replace('a', "b"), "' OR 1=1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }
}
