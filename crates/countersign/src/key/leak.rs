use super::{
    encoding::{self, PRIVATE},
    private::PrivateKey,
};

/// Fewer digits than this tell too little of a key.
const LEAST_DIGITS: usize = 20;
/// A whole key has more digits than this, even with a mistyped one.
const WHOLE: usize = 40;
/// The base64 in every Ed25519 private key in PKCS#8 form, and at the start of every OpenSSH private key.
const BODIES: [&str; 2] = ["BQYDK2VwBCIEI", "b3BlbnNzaC1rZXktdjE"];
/// How URLs and HTML write the punctuation of JSON.
const ESCAPED: [(&str, &str); 8] = [
    ("%22", "\""),
    ("%3A", ":"),
    ("%3a", ":"),
    ("%20", " "),
    ("+", " "),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("u0022", "\""),
];
/// The characters before the digits of an escape sequence, and the number of digits: in URLs, JSON, shells and programs.
const HEXADECIMAL: [(&str, usize); 5] = [("%u", 4), (r"\x", 1), (r"\x", 2), (r"\u", 4), (r"\U", 8)];

impl PrivateKey {
    /// Whether a text contains a private key. Ask before you log, print or count a stranger's text.
    ///
    /// A private key is `sk_…` at the beginning of a word, whole, mistyped or cut short; a private key in PEM form, or
    /// its body alone; or a JWK with a private member. Names like `task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json` and `SHOP
    /// PRIVATE KEY.pem` are no keys.
    ///
    /// ```
    /// use countersign::PrivateKey;
    ///
    /// let key = PrivateKey::ed25519(&[7; 32]).expose_text();
    /// assert!(PrivateKey::is_shown_in(&format!("X-Api-Key: {}", key.as_str())));
    /// assert!(!PrivateKey::is_shown_in("task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json"));
    /// ```
    pub fn is_shown_in(text: &str) -> bool {
        has_line(text) || has_pem(text) || has_jwk(text)
    }
}

fn has_line(text: &str) -> bool {
    text.match_indices(PRIVATE).any(|(at, _)| {
        let (before, word) = (text.get(..at), text.get(at..).unwrap_or_default());
        before.is_some_and(ends_at_boundary) && is_key(word)
    })
}

/// Whether a word can begin behind this text: it ends with an escape sequence, or with no letter or digit of a key.
///
/// Letters of other scripts are no part of a key, and Chinese and Japanese have no blanks before it.
fn ends_at_boundary(text: &str) -> bool {
    let inside = text.ends_with(|character: char| character.is_ascii_alphanumeric());
    !inside || ends_with_escape(text)
}

/// Whether text ends with an escape sequence, such as the `n` of a line break in JSON or the `20` of a blank in a URL.
fn ends_with_escape(text: &str) -> bool {
    let without = |count: usize, radix: u32| {
        let mut rest = text;
        for _ in 0..count {
            rest = rest.strip_suffix(|character: char| character.is_digit(radix))?;
        }
        Some(rest)
    };
    let letter = text.strip_suffix(['a', 'b', 'e', 'f', 'n', 'r', 't', 'v']);
    let octal = (1..=3).filter_map(|count| without(count, 8));
    let hexadecimal = |(mark, count): (&str, usize)| {
        without(count, 16).is_some_and(|before| before.ends_with(mark))
    };
    // A percent sign that was escaped once more is `%25`.
    let percent = without(2, 16).map(|before| before.trim_end_matches("25"));
    // A terminal's colour, as in `ESC [ 32 m`.
    let colour = text.strip_suffix('m');
    let colour = colour.map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == ';'));
    letter.into_iter().chain(octal).any(|before| before.ends_with('\\'))
        || HEXADECIMAL.into_iter().any(hexadecimal)
        || percent.is_some_and(|before| before.ends_with('%'))
        || colour.is_some_and(|before| before.ends_with('['))
}

/// Whether the word begins with a private key, or most of a key.
fn is_key(word: &str) -> bool {
    let is_digit = |character: char| character.is_ascii_alphanumeric();
    let digits = word.strip_prefix(PRIVATE).unwrap_or_default();
    let length = digits.find(|character| !is_digit(character)).unwrap_or(digits.len());
    let end = length.saturating_add(PRIVATE.len());
    // The format and the length of a key leave its first digit few choices: those of an Ed25519 seed and of an HMAC
    // secret of 32 bytes.
    let cut = length >= LEAST_DIGITS && digits.starts_with(['a', 'b', 'L', 'M']);
    let holds = || word.get(..end).is_some_and(|word| encoding::decode(PRIVATE, word).is_ok());
    length >= WHOLE || cut || holds()
}

fn has_pem(text: &str) -> bool {
    let mut labels = text.split("-----BEGIN").skip(1);
    let is_private = |rest: &str| {
        let rest: String = rest.chars().take(60).collect();
        let rest = rest.replace("%20", "").replace('+', "");
        let label: String = rest.chars().filter(|it| !it.is_whitespace()).collect();
        label.split('-').next().is_some_and(|label| label.contains("PRIVATEKEY"))
    };
    labels.any(is_private) || BODIES.iter().any(|body| text.contains(body))
}

fn has_jwk(text: &str) -> bool {
    if !text.contains("kty") {
        return false;
    }
    // Within a quoted text its quotation marks are escaped.
    let plain = text.replace('\\', "");
    let plain = ESCAPED.iter().fold(plain, |plain, (escaped, mark)| plain.replace(escaped, mark));
    let member = |name| plain.split(name).skip(1).any(|rest| rest.trim_start().starts_with(':'));
    member("\"kty\"") && (member("\"d\"") || member("\"k\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "sk_bFuYvMFyq9fgd3Bd2tzAUPDxwqKN8VZm1nnkkieQvP1z2JKmH8";

    #[test]
    fn a_private_key_is_found_in_every_form_wherever_it_stands() {
        let hmac = PrivateKey::hmac_sha256([6; 16], &[7; 32]).unwrap().expose_text();
        let mistyped = LINE.replacen("Fu", "F0", 1);
        let pem = PrivateKey::ed25519(&[7; 32]).expose_pkcs8_pem().unwrap();
        let body = pem.lines().nth(1).unwrap();
        let keys = [
            LINE,
            hmac.as_str(),
            &hmac[..30],
            &LINE[..24],
            &mistyped,
            &format!("{LINE}x"),
            &pem,
            body,
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGINPRIVATEKEY-----",
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"BBBB"}"#,
            r#"{ "k" : "c2VjcmV0", "kty": "oct" }"#,
        ];
        for key in keys {
            for around in [
                "", "acme_", " ", "'", "key=", "--key=", "Bearer ", "a/b_", "ü_", r"a\n", r"\r",
                r"key:\t",
            ] {
                let text = format!("{around}{key}\u{201c}.");
                assert!(PrivateKey::is_shown_in(&text), "{text}");
                assert!(PrivateKey::is_shown_in(&format!("{text:?}")), "{text:?}");
            }
        }
    }

    #[test]
    fn what_only_resembles_a_key_is_none() {
        let publishable = PrivateKey::ed25519(&[7; 32]).publishable_key().to_string();
        let others = [
            "",
            "sk_",
            "sk_prod.pem",
            "task_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
            "sk_01J9ZK3Q4R5S6T7V8W9X0Y1Z2A.json",
            "task_list_of_a_long_name",
            "SHOP PRIVATE KEY.pem",
            "-----BEGIN PUBLIC KEY-----",
            &publishable,
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#,
            r#"{"d":1,"k":2}"#,
            &format!("ta{LINE}"),
            &format!("9{LINE}"),
            &format!("n{LINE}"),
        ];
        for text in others {
            assert!(!PrivateKey::is_shown_in(text), "{text}");
        }
    }

    #[test]
    fn the_first_digits_of_a_key_are_those_that_a_cut_one_is_known_by() {
        for byte in [0, 1, 0x7f, 0xff] {
            let ed25519 = PrivateKey::ed25519(&[byte; 32]).expose_text();
            let hmac = PrivateKey::hmac_sha256([byte; 16], &[byte; 32]).unwrap().expose_text();
            assert!(ed25519[PRIVATE.len()..].starts_with(['a', 'b']), "{byte}");
            assert!(hmac[PRIVATE.len()..].starts_with(['L', 'M']), "{byte}");
            assert!(ed25519.len() > WHOLE + PRIVATE.len(), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_found(seed: [u8; 32], id: [u8; 16], secret in prop::collection::vec(any::<u8>(), 32..=64)) {
            let keys = [PrivateKey::ed25519(&seed), PrivateKey::hmac_sha256(id, &secret).unwrap()];
            for key in keys {
                let shown = format!("error in {}: no", key.expose_text().as_str());
                prop_assert!(PrivateKey::is_shown_in(&shown));
            }
        }

        #[test]
        fn no_text_panics(text in "(sk_|\\PC|-----BEGIN|é){0,20}") {
            let _found: bool = PrivateKey::is_shown_in(&text);
        }
    }
}
