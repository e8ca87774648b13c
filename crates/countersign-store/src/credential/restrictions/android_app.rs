use std::fmt;

/// An Android app: its package, and the certificate that signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AndroidApp {
    package: Box<str>,
    certificate: Fingerprint,
}

/// The digest of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fingerprint {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl AndroidApp {
    /// Parses an app from `PACKAGE=FINGERPRINT`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (package, certificate) = text.split_once('=')?;
        Self::new(package, certificate)
    }

    pub(super) fn new(package: &str, certificate: &str) -> Option<Self> {
        let good = package.len() <= 255
            && package.contains('.')
            && package.split('.').all(is_part_of_a_package);
        let certificate = Fingerprint::parse(certificate)?;
        good.then(|| Self { package: package.into(), certificate })
    }
}

/// Whether this is a valid part of a package name
/// (<https://developer.android.com/build/configure-app-module#set-application-id>).
fn is_part_of_a_package(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphabetic())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Fingerprint {
    /// Parses hexadecimal digits, with or without a colon between each two.
    fn parse(text: &str) -> Option<Self> {
        let separated = if text.contains(':') { 3 } else { 2 };
        let bytes = text.as_bytes().chunks(separated).map(|chunk| match chunk {
            [high, low] | [high, low, b':'] => byte(*high, *low),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let digest = match bytes.len() {
            20 => Self::Sha1(bytes.try_into().ok()?),
            _ => Self::Sha256(bytes.try_into().ok()?),
        };
        (!text.ends_with(':')).then_some(digest)
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

impl fmt::Display for AndroidApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.package)?;
        let bytes: &[u8] = match &self.certificate {
            Fingerprint::Sha1(bytes) => bytes,
            Fingerprint::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "5A0B8C1D2E3F405162738495A6B7C8D9EAFB0C1D";

    fn with_colons(digits: &str) -> String {
        digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
    }

    #[test]
    fn a_fingerprint_is_the_same_with_colons_and_without_and_in_either_case() {
        let app = AndroidApp::new("com.example.shop", SHA1).unwrap();
        for certificate in [SHA1.to_lowercase(), with_colons(SHA1)] {
            assert_eq!(AndroidApp::new("com.example.shop", &certificate).as_ref(), Some(&app));
        }
        assert_eq!(app.to_string(), format!("com.example.shop={SHA1}"));
        let sha256 = "F0".repeat(32);
        let entry = format!("com.example.shop={}", with_colons(&sha256));
        let printed = AndroidApp::parse(&entry).unwrap().to_string();
        assert_eq!(printed, format!("com.example.shop={sha256}"));
    }

    #[test]
    fn another_package_or_certificate_is_another_app() {
        let app = AndroidApp::new("com.example.shop", SHA1).unwrap();
        let other = SHA1.replace('5', "6");
        let twelve_more = format!("{SHA1}{}", "00".repeat(12));
        for (package, certificate) in [
            ("com.example.Shop", SHA1),
            ("com.example.shop2", SHA1),
            ("com.example.shop", &other),
            ("com.example.shop", &twelve_more),
        ] {
            assert_ne!(AndroidApp::new(package, certificate).unwrap(), app, "{package}");
        }
    }

    #[test]
    fn what_is_no_package_or_no_fingerprint_is_refused() {
        let longest = format!("a.{}", "b".repeat(254));
        for package in ["", "shop", "com.", ".shop", "com.1shop", "com.shop-x", "com._x", &longest]
        {
            assert_eq!(AndroidApp::new(package, SHA1), None, "{package}");
        }
        let colons = with_colons(SHA1);
        for certificate in [
            String::new(),
            SHA1.repeat(2),
            format!("{SHA1} "),
            format!("{colons}:"),
            format!("{SHA1}:"),
            colons.replacen(':', "", 1),
            colons.replace(':', "::"),
            SHA1.replacen("5A", "+A", 1),
            SHA1.replacen("5A", "5G", 1),
            SHA1.replacen('5', "", 1),
            "ä".repeat(20),
        ] {
            assert_eq!(AndroidApp::new("com.example.shop", &certificate), None, "{certificate}");
        }
        assert_eq!(AndroidApp::parse("com.example.shop"), None);
    }
}
