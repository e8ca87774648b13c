/// Why a text is not a valid name, or another text that people give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The text is not a valid name of an application.
    #[error("a name has 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit")]
    Application,
    /// The text is not a valid environment.
    #[error("an environment has 1 to 16 of a-z 0-9 -")]
    Environment,
    /// The text is not a valid label.
    #[error("a label has at most 64 characters, none of which is invisible")]
    Label,
    /// The text is not a valid contact.
    #[error("a contact has at most 128 characters, none of which is invisible")]
    Contact,
    /// The text is not a valid note.
    #[error("notes have at most 1024 characters, none of which is invisible")]
    Notes,
    /// The text is not a valid reason.
    #[error("a reason has 1 to 200 characters, none of which is invisible")]
    Reason,
    /// The text does not name who acts.
    #[error("an actor has 1 to 128 characters, none of which is invisible")]
    Actor,
}

/// Whether a character is a control character, has no glyph, or changes the direction of the text after it. With such a
/// character, a label could look like another label.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{2069}'
                | '\u{FEFF}'
        )
}

/// Implements the traits of a checked text: it is parsed once, compares with `str`, and prints as it was written.
macro_rules! checked_text {
    ($name:ident, $is_valid:path, $refusal:expr) => {
        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::credential::name::BadName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if $is_valid(text) { Ok(Self(text.to_owned().into())) } else { Err($refusal) }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $crate::credential::name::BadName;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl TryFrom<&String> for $name {
            type Error = $crate::credential::name::BadName;

            fn try_from(text: &String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                self.as_str() == text
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                self.as_str() == *text
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self.as_str(), f)
            }
        }
    };
}
pub(crate) use checked_text;
