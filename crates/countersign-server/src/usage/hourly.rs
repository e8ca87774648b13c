use std::{collections::HashMap, hash::Hash, time::Duration};

use countersign::Timestamp;
use foldhash::fast::RandomState;

use super::{
    counted::Group,
    room::{Added, Origin, Room},
};

/// How long after its end an hour still has its bounds: calls can begin in one and end in the next.
const KEPT: Duration = Duration::from_secs(2 * 3600);

/// Calls by hour, credential and one more thing, of which a bounded number is counted apart in each hour.
///
/// Entries stay after they were flushed, with a count of 0, so that the bound is one for the hour.
#[derive(Debug)]
pub(super) struct Hourly<K> {
    counts: HashMap<(Group, Option<K>), Count, RandomState>,
    /// How many are counted apart.
    apart: HashMap<Group, usize, RandomState>,
    most_apart: usize,
}

#[derive(Debug)]
struct Count {
    calls: u64,
    held: Held,
}

/// Of what room an entry is.
#[derive(Clone, Copy, Debug)]
enum Held {
    By(Origin),
    Spilled,
}

impl<K: Copy + Eq + Hash> Hourly<K> {
    pub(super) fn of(most_apart: usize) -> Self {
        let (counts, apart) = (HashMap::default(), HashMap::default());
        Self { counts, apart, most_apart }
    }

    /// Counts a call.
    pub(super) fn add(
        &mut self,
        group: Group,
        which: Option<K>,
        origin: Origin,
        room: &Room,
    ) -> Added {
        if self.increment(group, which) {
            return Added::Apart;
        }
        if let Some(which) = which {
            let apart = self.apart.get(&group).copied().unwrap_or(0);
            if apart < self.most_apart && room.take(origin) {
                self.apart.insert(group, apart.saturating_add(1));
                self.insert(group, Some(which), Held::By(origin));
                return Added::Apart;
            }
            if self.increment(group, None) {
                return Added::Together;
            }
        }
        let added = if which.is_some() { Added::Together } else { Added::Apart };
        if room.take(origin) {
            self.insert(group, None, Held::By(origin));
            return added;
        }
        let rest = Group { credential: None, ..group };
        if self.increment(rest, None) {
            return Added::Together;
        }
        if room.spill() {
            self.insert(rest, None, Held::Spilled);
            return Added::Together;
        }
        Added::Dropped
    }

    fn increment(&mut self, group: Group, which: Option<K>) -> bool {
        match self.counts.get_mut(&(group, which)) {
            Some(count) => {
                count.calls = count.calls.saturating_add(1);
                true
            }
            None => false,
        }
    }

    fn insert(&mut self, group: Group, which: Option<K>, held: Held) {
        self.counts.insert((group, which), Count { calls: 1, held });
    }

    /// Takes the counts, and forgets hours that are over.
    pub(super) fn drain(
        &mut self,
        newest: Timestamp,
        room: &Room,
        taken: &mut Vec<(Group, Option<K>, u64)>,
    ) {
        let is_over = |group: &Group| newest.since(group.hour).is_some_and(|age| age >= KEPT);
        self.counts.retain(|(group, which), count| {
            let calls = std::mem::take(&mut count.calls);
            if calls > 0 {
                taken.push((*group, *which, calls));
            }
            let stays = !is_over(group);
            if !stays {
                match count.held {
                    Held::By(origin) => room.give(origin),
                    Held::Spilled => room.unspill(),
                }
            }
            stays
        });
        self.apart.retain(|group, _| !is_over(group));
    }
}
