//! When each key was last used: noted in memory, and saved from time to time.

pub(super) mod saving;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::AtomicBool},
};

use countersign::Timestamp;

use crate::credential::CredentialId;

const SHARDS: usize = 64;
/// The row that says since when uses are recorded: the first use of all.
pub(super) const SINCE: CredentialId = CredentialId::new(0);

/// The uses of keys since they were last saved.
///
/// A use is noted once a minute for each key; the others in that minute change nothing.
#[derive(Debug)]
pub(super) struct LastUses {
    shards: Box<[Mutex<HashMap<CredentialId, Noted>>]>,
    /// Whether a task saves them.
    has_task: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    at: Timestamp,
    is_saved: bool,
}

impl Default for LastUses {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, has_task: AtomicBool::new(false) }
    }
}

impl LastUses {
    fn note(&self, id: CredentialId, now: Timestamp) {
        let shard = usize::try_from(id.get().unsigned_abs()).unwrap_or(0).checked_rem(SHARDS);
        let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = Noted { at: now, is_saved: false };
        let known = shard.entry(id).or_insert(noted);
        if minute(known.at) < minute(now) {
            *known = noted;
        }
    }

    /// Returns the uses that were not saved, in the order of their keys, and counts them as saved.
    fn take(&self) -> Vec<(CredentialId, Timestamp)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // Saved before, and not used since.
            shard.retain(|_, noted| !noted.is_saved);
            for (id, noted) in shard.iter_mut() {
                noted.is_saved = true;
                taken.push((*id, noted.at));
            }
        }
        taken.sort_unstable();
        taken
    }

    /// Notes uses again that could not be saved.
    fn give_back(&self, uses: &[(CredentialId, Timestamp)]) {
        for (id, at) in uses {
            let shard = usize::try_from(id.get().unsigned_abs()).unwrap_or(0).checked_rem(SHARDS);
            let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else { continue };
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = shard.entry(*id).or_insert(Noted { at: *at, is_saved: false });
            known.is_saved = false;
        }
    }
}

fn minute(time: Timestamp) -> u64 {
    time.unix().checked_div(60).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_763_900_040);

    fn id(number: i64) -> CredentialId {
        CredentialId::new(number)
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let uses = LastUses::default();
        assert_eq!(uses.take(), []);
        for at in [NOW, later(1), later(59)] {
            uses.note(id(1), at);
        }
        uses.note(id(65), later(2));
        assert_eq!(uses.take(), [(id(1), NOW), (id(65), later(2))]);
        uses.note(id(1), later(59));
        uses.note(id(65), NOW.minus(Duration::from_secs(600)));
        assert_eq!(uses.take(), [], "saved in this minute, or later");
        uses.note(id(1), later(60));
        assert_eq!(uses.take(), [(id(1), later(60))]);
    }

    #[test]
    fn what_could_not_be_saved_is_saved_later() {
        let uses = LastUses::default();
        for number in 1..=3 {
            uses.note(id(number), NOW);
        }
        let taken = uses.take();
        uses.note(id(3), later(60));
        uses.give_back(&taken);
        assert_eq!(uses.take(), [(id(1), NOW), (id(2), NOW), (id(3), later(60))]);
        assert_eq!(uses.take(), []);
        assert!(uses.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
