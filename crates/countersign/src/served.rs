use http::{Method, StatusCode, Version};

use crate::code::Code;

/// The methods that a server serves. It refuses others: `get` is not `GET`, and CONNECT and TRACE are for no handler.
pub const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// The oldest version of HTTP that a server serves. HTTP/1.0 requests need no `Host`, and proxies that send them drop more than that.
pub const OLDEST_VERSION: Version = Version::HTTP_11;

/// Why a server refuses a request before it looks at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// A version before [`OLDEST_VERSION`].
    #[error("HTTP/1.1 or HTTP/2 is needed")]
    Version,
    /// A method that is not one of [`METHODS`].
    #[error("the method is not supported here")]
    Method,
}

impl Unserved {
    /// The code of the refusal.
    pub const fn code(self) -> Code {
        match self {
            Self::Version => Code::BadRequest,
            Self::Method => Code::MethodNotAllowed,
        }
    }

    /// The status of the refusal.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => self.code().status(),
        }
    }
}

/// Checks the method and the version of a request: the first thing that a server looks at.
///
/// # Errors
///
/// [`Unserved`].
pub fn check_served(method: &Method, version: Version) -> Result<(), Unserved> {
    if version < OLDEST_VERSION {
        return Err(Unserved::Version);
    }
    match METHODS.contains(method) {
        true => Ok(()),
        false => Err(Unserved::Method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_served_by_its_method_and_its_version() {
        for method in METHODS {
            for version in [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
                assert_eq!(check_served(&method, version), Ok(()));
            }
            for version in [Version::HTTP_09, Version::HTTP_10] {
                assert_eq!(check_served(&method, version), Err(Unserved::Version));
            }
        }
        for method in ["get", "CONNECT", "TRACE", "PROPFIND", "QUERY", "PRI"] {
            let method: Method = method.parse().unwrap();
            assert_eq!(check_served(&method, Version::HTTP_11), Err(Unserved::Method), "{method}");
        }
        assert_eq!(Unserved::Version.status(), 505);
        assert_eq!(Unserved::Method.status(), 405);
    }
}
