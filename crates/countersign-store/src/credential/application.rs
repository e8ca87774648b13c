use std::borrow::Cow;

use countersign::Timestamp;

use super::name::{BadName, checked_text, is_invisible};

/// A program that calls the API, and owns credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Application {
    /// Its name, which is unique in a registry.
    pub name: ApplicationName,
    /// Its environment, `live` or `test` or another.
    pub environment: Environment,
    /// When it was added.
    pub created_at: Timestamp,
    /// Whom to ask about it.
    pub contact: Contact,
    /// What its operators noted about it.
    pub notes: Notes,
}

impl Application {
    /// Makes an application with this name and environment, without contact and notes.
    pub fn new(name: ApplicationName, environment: Environment, created_at: Timestamp) -> Self {
        Self { name, environment, created_at, contact: Contact::default(), notes: Notes::default() }
    }

    /// Sets whom to ask about it. Default: empty.
    pub fn with_contact(mut self, contact: Contact) -> Self {
        self.contact = contact;
        self
    }

    /// Sets the notes. Default: empty.
    pub fn with_notes(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }
}

/// The name of an application: 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
///
/// ```
/// use countersign_store::{ApplicationName, BadName};
///
/// const SHOP: ApplicationName = ApplicationName::from_static("shop");
/// assert_eq!("shop".parse(), Ok(SHOP));
/// assert_eq!("my shop".parse::<ApplicationName>(), Err(BadName::Application));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationName(Cow<'static, str>);

checked_text!(ApplicationName, is_name, BadName::Application);

impl ApplicationName {
    /// Makes a name from a text in the program. A `const` with an invalid name does not compile.
    ///
    /// # Panics
    ///
    /// If the name is invalid. Parse names from any other source.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(is_name(name), "a name has 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first");
        Self(Cow::Borrowed(name))
    }
}

const fn is_name(name: &str) -> bool {
    let [first, rest @ ..] = name.as_bytes() else { return false };
    let mut rest = rest;
    if !first.is_ascii_alphanumeric() || name.len() > 64 {
        return false;
    }
    while let [byte, others @ ..] = rest {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
            return false;
        }
        rest = others;
    }
    true
}

/// The environment of an application, `live` or `test` or another: 1 to 16 of `a-z 0-9 -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Environment(Cow<'static, str>);

checked_text!(Environment, is_environment, BadName::Environment);

impl Environment {
    /// Makes an environment from a text in the program. A `const` with an invalid environment does not compile.
    ///
    /// # Panics
    ///
    /// If the environment is invalid. Parse environments from any other source.
    pub const fn from_static(environment: &'static str) -> Self {
        assert!(is_environment(environment), "an environment has 1 to 16 of a-z 0-9 -");
        Self(Cow::Borrowed(environment))
    }
}

const fn is_environment(environment: &str) -> bool {
    let mut rest = environment.as_bytes();
    if rest.is_empty() || rest.len() > 16 {
        return false;
    }
    while let [byte, others @ ..] = rest {
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-') {
            return false;
        }
        rest = others;
    }
    true
}

/// Whom to ask about an application: up to 128 printable characters, such as an address for mail. The default is empty.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact(Box<str>);

checked_text!(Contact, is_contact, BadName::Contact);

fn is_contact(text: &str) -> bool {
    text.chars().count() <= 128 && !text.chars().any(is_invisible)
}

/// What its operators noted about an application: up to 1,024 printable characters and line ends. The default is empty.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notes(Box<str>);

checked_text!(Notes, is_notes, BadName::Notes);

fn is_notes(text: &str) -> bool {
    text.chars().count() <= 1024
        && !text.chars().any(|character| character != '\n' && is_invisible(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_environments_are_parsed_and_print_as_they_were_written() {
        let longest = "x".repeat(64);
        for name in ["shop", "Shop.1_a-b", "7", &longest] {
            let parsed: ApplicationName = name.parse().unwrap();
            assert_eq!(
                (parsed.to_string(), format!("{parsed:?}")),
                (name.into(), format!("{name:?}"))
            );
        }
        let too_long = "x".repeat(65);
        for name in ["", "-a", ".a", "a b", "a\n", "a\0", "é", &too_long] {
            assert_eq!(name.parse::<ApplicationName>(), Err(BadName::Application), "{name:?}");
        }
        for environment in ["live", "test-2", "-", "0123456789abcdef"] {
            assert_eq!(environment.parse::<Environment>().unwrap(), environment);
        }
        for environment in ["", "Live", "a_b", "a b", "0123456789abcdefg"] {
            let refused = environment.parse::<Environment>();
            assert_eq!(refused, Err(BadName::Environment), "{environment:?}");
        }
    }
}
