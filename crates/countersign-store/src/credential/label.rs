use super::name::{BadName, checked_text, is_invisible};

/// The name of a credential for people: up to 64 printable characters. The default is empty.
///
/// ```
/// use countersign_store::{BadName, Label};
///
/// let label: Label = "Ana's laptop".parse()?;
/// assert_eq!(label, "Ana's laptop");
/// assert_eq!("two\nlines".parse::<Label>(), Err(BadName::Label));
/// # Ok::<(), BadName>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

checked_text!(Label, is_label, BadName::Label);

fn is_label(text: &str) -> bool {
    text.chars().count() <= 64 && !text.chars().any(is_invisible)
}
