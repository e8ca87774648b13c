use crate::credential::name::{BadName, checked_text, is_invisible};

/// Who changes a registry, for its audit log: 1 to 128 printable characters, such as `ana@ops-1` or `deploy`.
///
/// The log keeps what it is told: a name proves nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(Box<str>);

checked_text!(Actor, is_actor, BadName::Actor);

fn is_actor(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && !text.chars().any(is_invisible)
}

impl Actor {
    /// Returns the name of this program, for changes of which nobody said who makes them.
    pub(super) fn program() -> Self {
        let program = std::env::current_exe().ok();
        let name = program.as_deref().and_then(|program| program.file_stem()?.to_str());
        let named = name.map(|name| format!("program {name}"));
        named.and_then(|named| named.parse().ok()).unwrap_or_else(|| Self("a program".into()))
    }
}
