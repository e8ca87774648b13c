use std::fmt;

use countersign::{Content, is_read};
use http::request::Parts;

/// What a route asks for.
///
/// By default a route asks for [`Access::Publishable`] when the method is `GET`, `HEAD` or
/// `OPTIONS`, no field overrides it, and there is no content, and for [`Access::Signed`] in every other case. A
/// [`Route`](crate::Route) that is declared, the layer [`Require`](crate::Require), and the extractors
/// [`Signed`](crate::Signed) and [`SignedBy`](crate::SignedBy) raise that. Only
/// [`Route::insecure_open`](crate::Route::insecure_open) and
/// [`Verifier::insecure_open_path`](crate::Verifier::insecure_open_path) lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anyone.
    Open,
    /// A publishable key, or a signature.
    Publishable,
    /// A signature. No publishable key ever is enough.
    Signed,
}

impl Access {
    /// The access that a request to an undeclared route asks for.
    pub fn by_default(head: &Parts, content: Content) -> Self {
        match is_read(&head.method, &head.headers, content) {
            true => Self::Publishable,
            false => Self::Signed,
        }
    }

    /// The access that a request to a declared route asks for: at least the default, unless the route is open.
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
