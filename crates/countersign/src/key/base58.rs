use zeroize::Zeroizing;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// The value of each byte as a digit, and 58 for other bytes.
#[expect(clippy::indexing_slicing, reason = "out of bounds it would not compile")]
const DIGITS: [u8; 256] = {
    let mut digits = [58; 256];
    let mut at: u8 = 0;
    while at < 58 {
        digits[ALPHABET[at as usize] as usize] = at;
        at += 1;
    }
    digits
};
/// As many digits as fit into 64 bits.
const TOGETHER: usize = 10;
/// As many digits as fit into 32 bits, and the number of their values.
const WRITTEN_TOGETHER: usize = 5;
const BASE: u64 = 58u64.pow(5);
/// Room for 160 digits, in 64 bits each.
const LIMBS: usize = 15;

/// The bytes of these digits, or `None` with another character or more than 160 digits. Every signed request has a key to
/// read, so it takes ten digits in one step.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The number so far, its lowest limb first.
    let (mut limbs, mut used) = (Zeroizing::new([0u64; LIMBS]), 0usize);
    for digits in text.as_bytes().chunks(TOGETHER) {
        let (mut carry, mut base) = (0u64, 1u64);
        for &byte in digits {
            let digit = *DIGITS.get(usize::from(byte)).filter(|&&digit| digit < 58)?;
            carry = carry.saturating_mul(58).saturating_add(u64::from(digit));
            base = base.saturating_mul(58);
        }
        for limb in limbs.iter_mut().take(used) {
            (*limb, carry) = limb.carrying_mul(base, carry);
        }
        if carry > 0 {
            *limbs.get_mut(used)? = carry;
            used = used.saturating_add(1);
        }
    }
    let zeros = text.bytes().take_while(|&byte| byte == b'1').count();
    let length = zeros.saturating_add(used.saturating_mul(size_of::<u64>()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    bytes.resize(zeros, 0);
    let mut number = limbs.iter().take(used).rev();
    if let Some(highest) = number.next() {
        let unused = usize::try_from(highest.leading_zeros() / u8::BITS).ok()?;
        bytes.extend_from_slice(highest.to_be_bytes().get(unused..)?);
    }
    for limb in number {
        bytes.extend_from_slice(&limb.to_be_bytes());
    }
    Some(bytes)
}

/// The digits of these bytes. Every look-up of a key in a database writes one, so it writes five digits in one step.
pub(super) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    // The number that is left, its lowest limb first.
    let limbs = bytes.rchunks(size_of::<u32>());
    let limb = |bytes: &[u8]| bytes.iter().fold(0u32, |limb, &byte| (limb << 8) | u32::from(byte));
    let mut limbs: Zeroizing<Vec<_>> = Zeroizing::new(limbs.map(limb).collect());
    let mut used = limbs.len();
    // Never grows, since that would leave copies of a secret behind.
    let capacity = bytes.len().saturating_mul(2).saturating_add(WRITTEN_TOGETHER);
    let mut digits = Zeroizing::new(Vec::with_capacity(capacity));
    while used > 0 {
        let mut rest = 0u64;
        for limb in limbs.iter_mut().take(used).rev() {
            let number = (rest << u32::BITS) | u64::from(*limb);
            *limb = u32::try_from(number / BASE).unwrap_or_default();
            rest = number % BASE;
        }
        for _ in 0..WRITTEN_TOGETHER {
            let digit = usize::try_from(rest % 58).ok().and_then(|digit| ALPHABET.get(digit));
            digits.extend(digit);
            rest /= 58;
        }
        while used.checked_sub(1).and_then(|last| limbs.get(last)) == Some(&0) {
            used = used.saturating_sub(1);
        }
    }
    while digits.last() == Some(&b'1') {
        digits.pop();
    }
    digits.extend(std::iter::repeat_n(b'1', zeros));
    digits.reverse();
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *digits)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(text: &str) -> Option<Vec<u8>> {
        bs58::decode(text).into_vec().ok()
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read(bytes in prop::collection::vec(any::<u8>(), 0..100), zeros in 0..10usize) {
            let bytes: Vec<u8> = std::iter::repeat_n(0, zeros).chain(bytes).collect();
            let text = bs58::encode(&bytes).into_string();
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), Some(bytes));
        }

        #[test]
        fn bytes_are_written_as_the_library_does(bytes in prop::collection::vec(any::<u8>(), 0..100), zeros in 0..10usize) {
            let bytes: Vec<u8> = std::iter::repeat_n(0, zeros).chain(bytes).collect();
            prop_assert_eq!(&*encode(&bytes), &bs58::encode(&bytes).into_string());
        }

        #[test]
        fn digits_are_read_as_the_library_does(text in "[1-9A-HJ-NP-Za-km-z]{0,160}") {
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), expected(&text));
        }

        #[test]
        fn what_has_other_characters_is_refused(
            text in "[1-9A-HJ-NP-Za-km-z]{0,20}[0OIl+/_ é\u{0}\u{7f}][1-9A-HJ-NP-Za-km-z]{0,20}",
        ) {
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), None);
            prop_assert_eq!(expected(&text), None);
        }
    }

    #[test]
    fn the_largest_number_of_each_length_is_read() {
        for length in 0..=160 {
            let text = "z".repeat(length);
            assert_eq!(decode(&text).map(|read| read.to_vec()), expected(&text), "{length}");
        }
    }
}
