use zeroize::Zeroizing;

use super::{base58, error::KeyError};

// The text form of both halves: PREFIX + base58(format byte, key bytes, CRC-32). The checksum includes the prefix, so
// that neither half passes for the other.
pub(super) const PUBLISHABLE: &str = "pk_";
pub(super) const PRIVATE: &str = "sk_";

/// Longer text is no key, and base58 takes quadratic time.
const MAX_TEXT: usize = 160;
const CHECKSUM: usize = 4;

/// Format version 1 in the high half of the byte, the algorithm in the low half. It is never zero, so that the number of
/// base58 digits gives the number of bytes.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Ed25519 = 0x11,
    HmacSha256 = 0x12,
}

fn checksum(prefix: &str, payload: &[u8]) -> [u8; CHECKSUM] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(prefix.as_bytes());
    crc.update(payload);
    crc.finalize().to_be_bytes()
}

pub(super) fn encode(prefix: &str, format: Format, parts: &[&[u8]]) -> Zeroizing<String> {
    // Reserved whole: a growing buffer would leave copies of a secret behind.
    let mut payload = Zeroizing::new(Vec::with_capacity(MAX_TEXT));
    payload.push(format as u8);
    for part in parts {
        payload.extend_from_slice(part);
    }
    let sum = checksum(prefix, &payload);
    payload.extend_from_slice(&sum);
    let digits = base58::encode(&payload);
    let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
    text.push_str(prefix);
    text.push_str(&digits);
    text
}

/// The format and the key bytes of `text`. A brand may stand before the prefix.
pub(super) fn decode(
    prefix: &'static str,
    text: &str,
) -> Result<(Format, Zeroizing<Vec<u8>>), KeyError> {
    if text.len() > MAX_TEXT {
        return Err(KeyError::UnknownForm);
    }
    let digits = after_prefix(prefix, text).ok_or(KeyError::UnknownForm)?;
    let payload = base58::decode(digits);
    let mut payload = payload.ok_or(KeyError::Damaged("a character that base58 does not have"))?;
    let (body, sum) =
        payload.split_last_chunk::<CHECKSUM>().ok_or(KeyError::Damaged("it is cut short"))?;
    if *sum != checksum(prefix, body) {
        return Err(KeyError::Damaged("its checksum is wrong, a character may be mistyped"));
    }
    let length = body.len();
    let format = body.first().ok_or(KeyError::Damaged("it is cut short"))?;
    let format = [Format::Ed25519, Format::HmacSha256]
        .into_iter()
        .find(|&known| known as u8 == *format)
        .ok_or(KeyError::Damaged("its format is of a newer version"))?;
    // In place: a second buffer would be a second one to erase.
    payload.truncate(length);
    payload.drain(..1);
    Ok((format, payload))
}

/// The text after `prefix`, if `prefix` stands at the start, or after a brand of `[a-z0-9]` and an underscore.
pub(super) fn after_prefix<'t>(prefix: &str, text: &'t str) -> Option<&'t str> {
    if let Some(digits) = text.strip_prefix(prefix) {
        return Some(digits);
    }
    let (brand, rest) = text.split_once('_')?;
    if is_brand(brand) { rest.strip_prefix(prefix) } else { None }
}

pub(super) fn is_brand(brand: &str) -> bool {
    (1..=16).contains(&brand.len())
        && brand.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !matches!(brand, "pk" | "sk")
}
