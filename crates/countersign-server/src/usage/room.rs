use std::sync::atomic::{AtomicUsize, Ordering};

use super::bounds;

/// How many entries a table may have, in all of its shards.
///
/// Calls without an accepted signature, which strangers can make, get half of it: they never crowd out the others.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    used: AtomicUsize,
    by_strangers: AtomicUsize,
    spilled: AtomicUsize,
}

/// Who brought about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request with an accepted signature.
    Holder,
    /// Any other request.
    Stranger,
}

/// Where a call was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Apart,
    /// In a row for all others.
    Together,
    Dropped,
}

impl Room {
    pub(super) const fn of(most: usize) -> Self {
        Self {
            most,
            used: AtomicUsize::new(0),
            by_strangers: AtomicUsize::new(0),
            spilled: AtomicUsize::new(0),
        }
    }

    /// Takes the room of an entry, if there is some.
    pub(super) fn take(&self, origin: Origin) -> bool {
        if origin == Origin::Stranger && !take(&self.by_strangers, self.most / 2) {
            return false;
        }
        let taken = take(&self.used, self.most);
        if !taken && origin == Origin::Stranger {
            give(&self.by_strangers);
        }
        taken
    }

    /// Gives the room of an entry back.
    pub(super) fn give(&self, origin: Origin) {
        give(&self.used);
        if origin == Origin::Stranger {
            give(&self.by_strangers);
        }
    }

    /// Takes the room of a row for all others.
    pub(super) fn spill(&self) -> bool {
        take(&self.spilled, bounds::SPILL)
    }

    /// Gives the room of a row for all others back.
    pub(super) fn unspill(&self) {
        give(&self.spilled);
    }
}

fn take(count: &AtomicUsize, most: usize) -> bool {
    let more = |used: usize| used.checked_add(1).filter(|used| *used <= most);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

fn give(count: &AtomicUsize) {
    let less = |used: usize| Some(used.saturating_sub(1));
    // It never fails: the function always gives a number.
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_take_half_of_the_room_at_most() {
        let room = Room::of(4);
        let taken = [Origin::Stranger; 3].map(|origin| room.take(origin));
        assert_eq!(taken, [true, true, false]);
        assert_eq!([Origin::Holder; 3].map(|origin| room.take(origin)), [true, true, false]);
        room.give(Origin::Stranger);
        assert!(room.take(Origin::Holder));
        assert!(!room.take(Origin::Stranger), "there is no room at all");
        room.give(Origin::Holder);
        assert!(room.take(Origin::Stranger));
    }
}
