use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use countersign::Timestamp;
use http::{HeaderMap, HeaderName, header::USER_AGENT};

use super::{
    bounds,
    classifier::{Class, Classifier},
    room::Origin,
};

const PLATFORM_HINT: HeaderName = HeaderName::from_static("sec-ch-ua-platform");
const MOBILE_HINT: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");
/// How long a program is remembered after its last call, in seconds.
const REMEMBERED: u64 = 2 * 3600;

/// What a request says of the program that sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agent {
    /// The first 512 bytes of `User-Agent`.
    pub(super) text: Box<str>,
    pub(super) hint: Hint,
}

/// What client hints say. Only browsers send them by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    Absent,
    Present,
}

/// The number of a program: a keyed hash of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AgentId(u64);

/// The distinct programs of the last hours, each text once.
#[derive(Debug, Default)]
pub(super) struct Agents {
    hasher: RandomState,
    known: RwLock<HashMap<AgentId, Known, foldhash::fast::RandomState>>,
    by_strangers: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    agent: Agent,
    origin: Origin,
    /// `None` until the next flush.
    class: Option<Class>,
    last_used: AtomicU64,
}

/// The program of a request that has begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    pub(super) id: Option<AgentId>,
    /// What is to be remembered, if the program is not known.
    pub(super) new: Option<Box<Agent>>,
}

impl Agents {
    /// Finds the program of a request.
    pub(super) fn sender(&self, headers: &HeaderMap, now: Timestamp) -> Sender {
        let user_agent = headers.get(USER_AGENT).map(|value| value.as_bytes());
        let hinted = headers.contains_key(PLATFORM_HINT) || headers.contains_key(MOBILE_HINT);
        let hint = if hinted { Hint::Present } else { Hint::Absent };
        if user_agent.is_none() && hint == Hint::Absent {
            return Sender::default();
        }
        let user_agent = user_agent.unwrap_or_default();
        let text = user_agent.get(..bounds::AGENT_BYTES).unwrap_or(user_agent);
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.write_u8(u8::from(hint == Hint::Present));
        let id = AgentId(hasher.finish());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&id) {
            known.last_used.store(now.unix(), Ordering::Relaxed);
            return Sender { id: Some(id), new: None };
        }
        if known.len() >= bounds::AGENTS {
            return Sender { id: Some(id), new: None };
        }
        let text = String::from_utf8_lossy(text).into();
        Sender { id: Some(id), new: Some(Box::new(Agent { text, hint })) }
    }

    /// Remembers a program, if there is room for it. Strangers get half of the room. Returns whether it is known.
    pub(super) fn remember(
        &self,
        id: AgentId,
        agent: Agent,
        origin: Origin,
        now: Timestamp,
    ) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(&id) {
            return true;
        }
        let by_strangers = self.by_strangers.load(Ordering::Relaxed);
        if known.len() >= bounds::AGENTS
            || (origin == Origin::Stranger && by_strangers >= bounds::AGENTS / 2)
        {
            return false;
        }
        if origin == Origin::Stranger {
            self.by_strangers.fetch_add(1, Ordering::Relaxed);
        }
        let last_used = AtomicU64::new(now.unix());
        known.insert(id, Known { agent, origin, class: None, last_used });
        true
    }

    /// Reads the texts that were not read yet. Takes a while: never call it on the way of a request.
    pub(super) fn classify(&self, classifier: &Classifier) {
        let unread: Vec<_> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let unread = known.iter().filter(|(_, known)| known.class.is_none());
            unread.map(|(id, known)| (*id, known.agent.clone())).collect()
        };
        let classes: Vec<_> =
            unread.into_iter().map(|(id, agent)| (id, classifier.classify(&agent))).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (id, class) in classes {
            if let Some(known) = known.get_mut(&id) {
                known.class = Some(class);
            }
        }
    }

    /// Whether a text is still to be read.
    pub(super) fn has_unread(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().any(|known| known.class.is_none())
    }

    /// What is known of these programs.
    pub(super) fn classes(&self, ids: impl Iterator<Item = Option<AgentId>>) -> Vec<Class> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let class = |id: Option<AgentId>| known.get(&id?)?.class.clone();
        ids.map(|id| class(id).unwrap_or_default()).collect()
    }

    /// Forgets programs that have not called for long.
    pub(super) fn forget_before(&self, now: Timestamp) {
        let oldest = now.unix().saturating_sub(REMEMBERED);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_old = |known: &mut Known| *known.last_used.get_mut() < oldest;
        for (_, known) in known.extract_if(|_, known| is_old(known)) {
            if known.origin == Origin::Stranger {
                self.by_strangers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.read().unwrap().len()
    }
}
