use std::fmt;

/// The name of a product (RFC 9110 §10.1.5): up to 64 characters of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Product(Box<str>);

impl Product {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(is_token);
        good.then(|| Self(text.into()))
    }

    pub(super) const fn name(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Returns the names of the products in a `User-Agent` field: `product *( RWS ( product / comment ) )`. Comments are skipped.
pub(super) fn products(field: &[u8]) -> Option<Vec<&[u8]>> {
    let (name, mut rest) = product(field)?;
    let mut names = vec![name];
    while !rest.is_empty() {
        let next = rest.trim_ascii_start();
        if next.len() == rest.len() {
            return None;
        }
        rest = if next.starts_with(b"(") {
            after_comment(next)?
        } else {
            let (name, rest) = product(next)?;
            names.push(name);
            rest
        };
    }
    Some(names)
}

/// Parses `product = token ["/" product-version]` into its name and the rest of the field.
fn product(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = token(field)?;
    match rest.strip_prefix(b"/") {
        Some(version) => Some((name, token(version)?.1)),
        None => Some((name, rest)),
    }
}

fn token(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = field.iter().take_while(|&&byte| is_token(byte)).count();
    let (token, rest) = field.split_at_checked(length)?;
    (!token.is_empty()).then_some((token, rest))
}

/// Returns the field after a comment (RFC 9110 §5.6.5). Comments nest, and `\` escapes the next character.
fn after_comment(field: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    let mut rest = field;
    loop {
        rest = match rest {
            [b'\\', _, rest @ ..] => rest,
            [b'(', rest @ ..] => {
                depth = depth.checked_add(1)?;
                rest
            }
            [b')', rest @ ..] if depth == 1 => return Some(rest),
            [b')', rest @ ..] => {
                depth = depth.checked_sub(1)?;
                rest
            }
            [b'\\'] | [] => return None,
            [_, rest @ ..] => rest,
        };
    }
}

/// Whether a byte may be in a token (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_from_versions_and_comments() {
        for (field, expected) in [
            ("shop-sdk", Some(vec!["shop-sdk"])),
            ("shop-sdk/1.2", Some(vec!["shop-sdk"])),
            ("app/3 shop-sdk/1.2 (linux; arm64)", Some(vec!["app", "shop-sdk"])),
            ("app (with (shop-sdk/1.2) in it) other", Some(vec!["app", "other"])),
            (r"app (\) shop-sdk \() other", Some(vec!["app", "other"])),
            ("app (ä)\tother", Some(vec!["app", "other"])),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1",
                Some(vec!["Mozilla", "AppleWebKit", "Chrome"]),
            ),
            ("", None),
            ("(shop-sdk)", None),
            ("shop-sdk/", None),
            ("/1.2", None),
            ("app shop-sdk/1.2/3", None),
            ("app, shop-sdk", None),
            ("app(x)", None),
            ("app (x)shop-sdk", None),
            ("app (x", None),
            ("app (x\\)", None),
            ("app (x\\", None),
            ("app x)", None),
            ("app ", None),
            (" app", None),
        ] {
            let expected =
                expected.map(|names| names.into_iter().map(str::as_bytes).collect::<Vec<_>>());
            assert_eq!(products(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn a_name_is_a_token() {
        let longest = "x".repeat(64);
        for text in ["shop-sdk", "shop.sdk", &longest] {
            assert_eq!(Product::parse(text).unwrap().to_string(), text);
        }
        let too_long = "x".repeat(65);
        for text in ["", "shop-sdk/1.0", "shop sdk", "(shop)", "ä", &too_long] {
            assert_eq!(Product::parse(text), None, "{text}");
        }
    }
}
