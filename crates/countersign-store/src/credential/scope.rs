use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

/// The name of a right of a credential, such as `orders:write`: 1 to 64 of `A-Z a-z 0-9 . : / _ -`.
///
/// A scope is a `scope-token` of RFC 6749 §3.3, without the characters that a shell or a log would have to quote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Cow<'static, str>);

/// The text is not a valid scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope has 1 to 64 of A-Z a-z 0-9 . : / _ -")]
pub struct BadScope;

impl Scope {
    /// Makes a scope from a text in the program. A `const` with an invalid name does not compile.
    ///
    /// ```
    /// use countersign_store::Scope;
    ///
    /// const WRITE: Scope = Scope::from_static("orders:write");
    /// assert_eq!("orders:write".parse(), Ok(WRITE));
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is invalid. Parse names from any other source.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(is_scope(name), "a scope has 1 to 64 of A-Z a-z 0-9 . : / _ -");
        Self(Cow::Borrowed(name))
    }

    /// Returns its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_scope(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if rest.is_empty() || rest.len() > 64 {
        return false;
    }
    while let [byte, others @ ..] = rest {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'/' | b'_' | b'-')) {
            return false;
        }
        rest = others;
    }
    true
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(name: &str) -> Result<Self, BadScope> {
        if is_scope(name) { Ok(Self(Cow::Owned(name.to_owned()))) } else { Err(BadScope) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The scopes of a credential, or the scopes that a route requires. The default is empty.
///
/// Printed and parsed as in RFC 6749 §3.3: with one space between two scopes.
///
/// ```
/// use countersign_store::{Scope, Scopes};
///
/// let scopes: Scopes = "orders:read orders:write".parse()?;
/// assert!(scopes.contains(&Scope::from_static("orders:write")));
/// assert_eq!(scopes.to_string(), "orders:read orders:write");
/// # Ok::<(), countersign_store::BadScope>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether the set contains this scope.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Returns the first scope of `asked` that is missing here; `None` if all of them are here.
    pub fn missing<'a>(&self, asked: &'a Self) -> Option<&'a Scope> {
        asked.iter().find(|scope| !self.contains(scope))
    }

    /// Returns all scopes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a scope.
    pub fn insert(&mut self, scope: Scope) {
        self.0.insert(scope);
    }

    /// Removes a scope.
    pub fn remove(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl<const N: usize> From<[Scope; N]> for Scopes {
    fn from(scopes: [Scope; N]) -> Self {
        scopes.into_iter().collect()
    }
}

impl FromStr for Scopes {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text {
            "" => Ok(Self::default()),
            text => text.split(' ').map(str::parse).collect(),
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for scope in self.iter() {
            write!(f, "{separator}{scope}")?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_short_text_that_is_safe_in_shells_and_logs() {
        let longest = "x".repeat(64);
        for name in ["orders:write", "a", "A.b-c_d/0", "https://a.test/orders", &longest] {
            assert_eq!(name.parse::<Scope>().map(|scope| scope.to_string()), Ok(name.to_owned()));
        }
        let too_long = "x".repeat(65);
        for name in ["", "a b", " a", "a\"", "a\\", "a\n", "a,b", "a*", "$a", "ä", &too_long] {
            assert_eq!(name.parse::<Scope>(), Err(BadScope), "{name:?}");
        }
    }

    #[test]
    #[should_panic(expected = "a scope has 1 to 64 of")]
    fn a_scope_written_down_wrong_ends_the_program_at_its_start() {
        drop(Scope::from_static("orders write"));
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_named() {
        let scopes = |text: &str| text.parse::<Scopes>().unwrap();
        let table = [
            ("", "", None),
            ("a", "", None),
            ("a", "a", None),
            ("a b c", "c a", None),
            ("", "a", Some("a")),
            ("a c", "a b c", Some("b")),
            ("orders:write", "orders", Some("orders")),
            ("orders", "orders:write", Some("orders:write")),
            ("A", "a", Some("a")),
        ];
        for (had, asked, missing) in table {
            let asked = scopes(asked);
            assert_eq!(scopes(had).missing(&asked).map(Scope::as_str), missing, "{had} / {asked}");
        }
    }

    #[test]
    fn scopes_print_as_they_are_read_each_once_and_in_order() {
        for (text, printed) in [("", ""), ("b", "b"), ("b a:x", "a:x b"), ("a b a", "a b")] {
            assert_eq!(text.parse::<Scopes>().unwrap().to_string(), printed, "{text:?}");
        }
        for text in [" ", "a ", " a", "a  b", "a\tb", "a,b"] {
            assert_eq!(text.parse::<Scopes>(), Err(BadScope), "{text:?}");
        }
    }
}
