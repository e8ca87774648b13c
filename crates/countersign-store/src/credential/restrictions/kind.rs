use std::{fmt, str::FromStr};

use super::half::Half;

/// What a [`Restriction`](super::Restriction) looks at, how its entries are written, and who can get around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestrictionKind {
    /// The address that a request comes from. An entry is an address, or a range of them in CIDR form: `192.0.2.7`,
    /// `192.0.2.0/24`, `2001:db8::/48`.
    ///
    /// To get around it one has to send from such an address, and to get the answers there: it holds as far as the server
    /// knows the address. It binds both halves of a credential.
    Ip,
    /// The web origin whose page made a request: the `Origin` field (RFC 6454 §7). An entry is an origin:
    /// `https://shop.example`, `http://localhost:3000`.
    ///
    /// Browsers do not let a page say another one. Any other program can say what it wants. Browsers leave it out of reads
    /// of a page's own origin.
    Origin,
    /// The page that made a request: the `Referer` field (RFC 9110 §10.1.3). An entry is an origin, or one with the beginning
    /// of a path, by whole segments: `https://shop.example/app` is `/app` and `/app/cart`, not `/apple`.
    ///
    /// Browsers do not let a page say another one, but users and pages can have it left out; to other origins they tell no
    /// path, unless the page's `Referrer-Policy` asks for it. Any other program can say what it wants.
    Referrer,
    /// The Android app that made a request, as its code says: the fields `X-Android-Package` and `X-Android-Cert`. An entry
    /// is a package and the SHA-256 or SHA-1 fingerprint of the certificate that signed it, in hexadecimal digits with or
    /// without colons, in the form in which the app sends it: `com.example.shop=5A:0B:…`.
    ///
    /// Any program can say what it wants, and both can be read out of the app.
    Android,
    /// The iOS app that made a request, as its code says: the field `X-Ios-Bundle-Identifier`. An entry is a bundle identifier:
    /// `com.example.Shop`.
    ///
    /// Any program can say what it wants, and it can be read out of the app.
    Ios,
    /// The library that made a request: one of the products in the `User-Agent` field (RFC 9110 §10.1.5). An entry is the name
    /// of one, in any version: `shop-sdk`.
    ///
    /// Any program can say what it wants.
    Sdk,
}

impl RestrictionKind {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 6] =
        [Self::Ip, Self::Origin, Self::Referrer, Self::Android, Self::Ios, Self::Sdk];

    /// `ip`, `origin`, `referrer`, `android`, `ios` or `sdk`.
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

    /// What an entry is.
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

/// The text names no kind of restriction.
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
