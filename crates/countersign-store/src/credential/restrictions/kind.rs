use std::{fmt, str::FromStr};

use super::half::Half;

/// The property of a request that a [`Restriction`](super::Restriction) checks. Each kind documents the form of its entries,
/// and how a caller could get around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestrictionKind {
    /// The client address of a request. An entry is an address or a range in CIDR form: `192.0.2.7`, `192.0.2.0/24`,
    /// `2001:db8::/48`.
    ///
    /// To get around it, an attacker has to send from an allowed address and to receive the response there. It is only as
    /// reliable as the server's knowledge of the address. It binds both halves of a credential.
    Ip,
    /// The web origin of the page that made a request: the `Origin` field (RFC 6454 §7). An entry is an origin:
    /// `https://shop.example`, `http://localhost:3000`.
    ///
    /// Browsers do not let a page send another origin. Any other program can send any value. Browsers leave the field out of
    /// reads of a page's own origin.
    Origin,
    /// The page that made a request: the `Referer` field (RFC 9110 §10.1.3). An entry is an origin, or an origin with the
    /// first segments of a path: `https://shop.example/app` allows `/app` and `/app/cart`, not `/apple`.
    ///
    /// Browsers do not let a page send another page's URL, but users and pages can suppress the field. To other origins
    /// browsers send no path, unless the page's `Referrer-Policy` asks for it. Any other program can send any value.
    Referrer,
    /// The Android app that made a request, according to its code: the fields `X-Android-Package` and `X-Android-Cert`. An
    /// entry is a package and the SHA-256 or SHA-1 fingerprint of its signing certificate, in hexadecimal digits with or
    /// without colons, in the form that the app sends: `com.example.shop=5A:0B:…`.
    ///
    /// Any program can send any value, and both values can be read out of the app.
    Android,
    /// The iOS app that made a request, according to its code: the field `X-Ios-Bundle-Identifier`. An entry is a bundle
    /// identifier: `com.example.Shop`.
    ///
    /// Any program can send any value, and the identifier can be read out of the app.
    Ios,
    /// The library that made a request: a product in the `User-Agent` field (RFC 9110 §10.1.5). An entry is the name of a
    /// product, in any version: `shop-sdk`.
    ///
    /// Any program can send any value.
    Sdk,
}

impl RestrictionKind {
    /// All kinds, in the order of the checks.
    pub const ALL: [Self; 6] =
        [Self::Ip, Self::Origin, Self::Referrer, Self::Android, Self::Ios, Self::Sdk];

    /// Returns `ip`, `origin`, `referrer`, `android`, `ios` or `sdk`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Origin => "origin",
            Self::Referrer => "referrer",
            Self::Android => "android",
            Self::Ios => "ios",
            Self::Sdk => "sdk",
        }
    }

    pub(super) const fn binds(self, half: Half) -> bool {
        match half {
            Half::Publishable => true,
            Half::Private => matches!(self, Self::Ip),
        }
    }

    /// Returns a description of a valid entry, for error messages.
    pub(super) const fn form(self) -> &'static str {
        match self {
            Self::Ip => {
                "an address or a range of them whose bits after the prefix are 0, like 192.0.2.0/24"
            }
            Self::Origin => "a web origin and nothing after it, like https://shop.example",
            Self::Referrer => {
                "an origin, or one with a path and nothing after it, like https://shop.example/app"
            }
            Self::Android => {
                "a package and a SHA-256 or SHA-1 fingerprint, like com.example.shop=5A:0B:…"
            }
            Self::Ios => "a bundle identifier, like com.example.Shop",
            Self::Sdk => "the name of a product without its version, like shop-sdk",
        }
    }
}

impl fmt::Display for RestrictionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a kind of restriction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a restriction is ip, origin, referrer, android, ios or sdk")]
pub struct UnknownKind;

impl FromStr for RestrictionKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_print_as_they_are_read() {
        for kind in RestrictionKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for text in ["", "IP", "ip ", "referer"] {
            assert_eq!(text.parse::<RestrictionKind>(), Err(UnknownKind), "{text}");
        }
    }
}
