use std::fmt;

use countersign::{Content, is_read};
use http::request::Parts;

/// The credential that a route requires of its requests.
///
/// By default a route requires [`Access::Publishable`] if the method is `GET`, `HEAD` or `OPTIONS`, no field overrides it, and
/// there is no content. In every other case it requires [`Access::Signed`]. A declared [`Route`](crate::Route), the layer
/// [`Require`](crate::Require), and the extractors [`Signed`](crate::Signed) and [`SignedBy`](crate::SignedBy) raise this. Only
/// [`Route::insecure_open`](crate::Route::insecure_open) and
/// [`Verifier::insecure_open_path`](crate::Verifier::insecure_open_path) lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// No credential: anyone may call.
    Open,
    /// A publishable key, or a signature.
    Publishable,
    /// A signature. A publishable key is never enough.
    Signed,
}

impl Access {
    /// Returns the access that a request to an undeclared route requires.
    pub fn by_default(head: &Parts, content: Content) -> Self {
        match is_read(&head.method, &head.headers, content) {
            true => Self::Publishable,
            false => Self::Signed,
        }
    }

    /// Returns the access that a request to a declared route requires: at least the default, unless the route is open.
    pub(crate) fn for_request(self, head: &Parts, content: Content) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Publishable | Self::Signed => self.max(Self::by_default(head, content)),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Publishable => "publishable",
            Self::Signed => "signed",
        })
    }
}
