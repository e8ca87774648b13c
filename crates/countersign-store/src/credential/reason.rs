use super::name::{BadName, checked_text, is_invisible};

/// Why something was done, in a few words: 1 to 200 printable characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Box<str>);

checked_text!(Reason, is_reason, BadName::Reason);

fn is_reason(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(is_invisible)
}
