use std::fmt;

/// One check of a signed request. A server makes them in the order of [`Check::ALL`], and the response names the first that fails.
///
/// The order is kind to the server: no cryptography for a malformed request, no stored nonce for a stranger, no content read for a
/// forger. `docs/reference/protocol.md` numbers the checks likewise and says more about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// HTTP version, method, target and origin.
    Target,
    /// The limit on failures of the client address.
    Failures,
    /// The form of the signature fields.
    Form,
    /// Coverage, parameters and time; also that there is one credential, and the announced length of the content.
    Policy,
    /// The key and the signature: the caller learns that one of them fails and not which.
    Signature,
    /// The state, the restrictions and the scopes of the credential. From here on the caller is known.
    Credential,
    /// The budget of the credential's signed requests, and the application's share of the memory for content.
    Budget,
    /// The low-water mark and the nonce. From here on the nonce is spent.
    Replay,
    /// The content, compared with its digest as it arrives.
    Content,
    /// The access token, where the route asks for one beside the signature.
    Token,
}

impl Check {
    /// All checks, in their order.
    pub const ALL: [Self; 10] = [
        Self::Target,
        Self::Failures,
        Self::Form,
        Self::Policy,
        Self::Signature,
        Self::Credential,
        Self::Budget,
        Self::Replay,
        Self::Content,
        Self::Token,
    ];

    /// Its place in the order, from 1 on.
    pub const fn number(self) -> u8 {
        match self {
            Self::Target => 1,
            Self::Failures => 2,
            Self::Form => 3,
            Self::Policy => 4,
            Self::Signature => 5,
            Self::Credential => 6,
            Self::Budget => 7,
            Self::Replay => 8,
            Self::Content => 9,
            Self::Token => 10,
        }
    }

    /// What is checked, in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Target => "HTTP version, method, target, origin",
            Self::Failures => "failures from this address",
            Self::Form => "form of the signature fields",
            Self::Policy => "coverage, parameters, time",
            Self::Signature => "key and signature",
            Self::Credential => "state, restrictions, scopes",
            Self::Budget => "budget of signed requests",
            Self::Replay => "low-water mark and nonce",
            Self::Content => "content",
            Self::Token => "access token",
        }
    }

    /// The statuses of the responses to a request that fails here.
    pub const fn statuses(self) -> &'static [u16] {
        match self {
            Self::Target => &[400, 405, 414, 421, 505],
            Self::Failures => &[429],
            Self::Form => &[400, 431],
            Self::Policy => &[400, 401, 413, 503],
            Self::Signature => &[401, 429, 503],
            Self::Credential => &[401, 403, 429],
            Self::Budget => &[429, 503],
            Self::Replay => &[401, 429, 503],
            Self::Content => &[400, 408, 413, 503],
            Self::Token => &[401, 403, 503],
        }
    }
}

/// As in `5. key and signature`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.number(), self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_order() {
        assert!(Check::ALL.is_sorted());
        let numbers = Check::ALL.map(|check| usize::from(check.number()));
        assert_eq!(numbers, std::array::from_fn(|at| at + 1));
    }
}
