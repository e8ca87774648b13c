use std::fmt;

/// The identifier of an iOS app: 1 to 155 of `A-Z a-z 0-9 . -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BundleId(Box<str>);

impl BundleId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let good = (1..=155).contains(&text.len()) && text.bytes().all(allowed);
        good.then(|| Self(text.into()))
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_of_letters_digits_dots_and_hyphens() {
        let longest = "x".repeat(155);
        for text in ["com.example.Shop", "com.example.shop-2", &longest] {
            assert_eq!(BundleId::parse(text).unwrap().to_string(), text);
        }
        let too_long = "x".repeat(156);
        for text in ["", "com.example.*", "com.example shop", "com_example", "ä", &too_long] {
            assert_eq!(BundleId::parse(text), None, "{text}");
        }
        assert_ne!(BundleId::parse("com.example.Shop"), BundleId::parse("com.example.shop"));
    }
}
