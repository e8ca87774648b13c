use super::error::KeyError;

/// What a secret has to show, in hundredths of a bit: the 112 bits that NIST SP 800-131A asks for.
const LEAST: usize = 11_200;

/// The pairs of letters that make up about half of an English text, and blanks beside a letter.
const COMMON_PAIRS: &[u8] = b"THHEINERANREONATENNDTIESORTEOFEDISITALARSTTONTNGSEHAASOUIOLEVECOMEDEHIRIROICNEEATIWEKECHLLSASSOREYOWOMAMYSHEYPACRIGSITTRULECTAIGHEMYRDKI";

/// Refuses an HMAC secret that can be guessed, as far as that can be seen.
///
/// The estimate is an upper bound, so a secret that passes can still be weak. Each byte counts as much as the smallest
/// of a few alphabets that has all of them, and nothing if it follows from those before it: it continues a run or a
/// sequence, repeats three bytes that were there before, or, in a text, ends one of the commonest pairs of letters.
///
/// A random byte follows from those before it less than once in 10,000 times, and of 32 random bytes 19 would have to for a
/// refusal. Of secrets that are random but written as 32 hex digits, about one in 5,000 is refused; as 32 small letters,
/// about one in 300.
pub(super) fn require_unguessable(secret: &[u8]) -> Result<(), KeyError> {
    let (alphabet, each) = alphabet(secret);
    let is_text = matches!(alphabet, Alphabet::Text);
    let told = (0..secret.len()).filter(|&at| !follows(secret, at, is_text)).count();
    if told.saturating_mul(each) < LEAST { Err(KeyError::Guessable) } else { Ok(()) }
}

#[derive(Clone, Copy)]
enum Alphabet {
    Digits,
    Hex,
    Text,
    Bytes,
}

/// The smallest alphabet that has all of these bytes, and the logarithm of its size, in hundredths of a bit.
fn alphabet(secret: &[u8]) -> (Alphabet, usize) {
    let all = |is: fn(&u8) -> bool| secret.iter().all(is);
    if all(u8::is_ascii_digit) {
        (Alphabet::Digits, 332)
    } else if all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-' | b':'))
        || all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F' | b'-' | b':'))
    {
        (Alphabet::Hex, 400)
    } else if all(|byte| byte.is_ascii_lowercase() || !byte.is_ascii_alphanumeric())
        && all(|byte| matches!(byte, b' '..=b'~'))
    {
        (Alphabet::Text, 470)
    } else if all(|byte| matches!(byte, b' '..=b'~')) {
        (Alphabet::Text, 600)
    } else {
        (Alphabet::Bytes, 800)
    }
}

fn follows(secret: &[u8], at: usize, is_text: bool) -> bool {
    let Some([before, last, this]) = at.checked_sub(2).and_then(|from| secret.get(from..=at))
    else {
        return false;
    };
    let step = i16::from(*this).saturating_sub(i16::from(*last));
    let in_a_row = step.abs() <= 1 && step == i16::from(*last).saturating_sub(i16::from(*before));
    let earlier = secret.get(..at).unwrap_or_default();
    let again = earlier.windows(3).any(|three| three == [*before, *last, *this]);
    in_a_row || again || (is_text && is_common_pair(*last, *this))
}

fn is_common_pair(last: u8, this: u8) -> bool {
    let pair = [last.to_ascii_uppercase(), this.to_ascii_uppercase()];
    let (pairs, _) = COMMON_PAIRS.as_chunks();
    let is_gap = |byte: u8| matches!(byte, b' ' | b'-' | b'_' | b'.');
    pairs.contains(&pair) || (is_gap(this) && last.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_type_is_refused() {
        let typed: [&[u8]; 19] = [
            &[0; 32],
            &[7; 64],
            b"secret\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"00000000000000000000000000000000",
            b"01234567890123456789012345678901",
            b"27182818284590452353602874713526",
            b"abcdefghijklmnopqrstuvwxyz012345",
            b"0123456789abcdef0123456789abcdef",
            b"deadbeefdeadbeefdeadbeefdeadbeef",
            b"DE:AD:BE:EF:DE:AD:BE:EF:DE:AD:BE:EF",
            b"passwordpasswordpasswordpassword",
            b"changeme-changeme-changeme-changeme",
            b"correct horse battery staple correct",
            b"This is my very secret passphrase!",
            b"my-secret-key-for-hmac-signing!!",
            b"a-string-secret-at-least-256-bits-long",
            b"Correct-Horse-Battery-Staple-2024",
            b"ThisIsASecretKeyForJwtTokens12345",
            b"dev-secret-do-not-use-in-production",
        ];
        for secret in typed {
            let refused = require_unguessable(secret);
            assert_eq!(refused, Err(KeyError::Guessable), "{}", secret.escape_ascii());
        }
    }

    #[test]
    fn random_secrets_in_the_forms_that_tools_write_are_taken() {
        let made: [&[u8]; 6] = [
            // `openssl rand -hex 16`, `-hex 32`, `-base64 24` and `-base64 32`; a UUID; base32.
            b"2f0b6b35e1e7ad7ef17cf6d0c9d7b24f",
            b"9a1c54f0be7d2863e07f1b93c5d8a64ee2710c9f5b3846adf19e27c08b5d6a34",
            b"q3Zk9VtLx0RwYb7NfJ2hUe8sMd5cAo1G",
            b"Kx8vQ2rPz7LmNw4TsYb1HdGf6JcUeAo9RiXk3ZtVq0M=",
            b"6f1f8b2e-93d4-4c57-a0e6-1b7c9d25f384",
            b"qkz4v7xmw2h5jt3yb6rnpfg7dclsa2ue",
        ];
        for secret in made {
            assert_eq!(require_unguessable(secret), Ok(()), "{}", secret.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_taken(secret: [u8; 32], more in prop::collection::vec(any::<u8>(), 0..=32)) {
            prop_assert_eq!(require_unguessable(&secret), Ok(()));
            let longer = [secret.as_slice(), &more].concat();
            prop_assert_eq!(require_unguessable(&longer), Ok(()));
        }

        #[test]
        fn what_repeats_a_few_bytes_is_refused(part in prop::collection::vec(any::<u8>(), 1..=10)) {
            let secret: Vec<u8> = part.into_iter().cycle().take(64).collect();
            prop_assert_eq!(require_unguessable(&secret), Err(KeyError::Guessable));
        }
    }
}
